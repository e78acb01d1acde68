"""The reckoning: what stands in the database after the faults, beside what stands there without any.

The same events are recorded in another database, in order, once each, with nothing in the way. Then every table must
hold the same, whatever was cut, killed and repeated on the other side; only ids and times of receipt may differ.
"""

import io
import json
from collections import Counter
from collections.abc import Iterable
from contextlib import redirect_stdout
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pg8000.exceptions import DatabaseError  # type: ignore[import-untyped]  # pg8000 ships no types

from gatehouse.accounts import GatewayAccount, fingerprint
from gatehouse.database.connection import Database
from gatehouse.enrichment.fees import fetch_fee
from gatehouse.enrichment.refetch import refetch
from gatehouse.errors import SealBroken
from gatehouse.gateways import stripe
from gatehouse.gateways.stripe.client import StripeClient
from gatehouse.intake.record import Delivery, record
from gatehouse.jobs.bell import Bell
from gatehouse.jobs.claim import Worker, work_on
from gatehouse.sealing import Keyring
from tests.faults.ground import API_KEY, Ground
from tests.faults.stream import MERCHANTS, SIGNING_SECRETS, StripeEvent
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.queues import unreachable_sqs

# (identity, content) of everything there is. A payment is known by its names; its last fact may be a fee, which is
# timed by whoever fetched it.
ROWS = {
    "event": """
        select event_id, jsonb_build_array(gateway, account, merchant, type, livemode, occurred_at, status, reason,
            attempts, reference, signed_by)::text
        from webhook_events""",
    "payload": """
        select e.event_id, jsonb_build_array(p.merchant, p.received_at = e.received_at)::text
        from webhook_payloads p left join webhook_events e on e.id = p.webhook_event_id""",
    "fact": """
        select coalesce(j.topic || ' ' || j.business_key, f.said_by), jsonb_build_array(f.kind, f.merchant, f.gateway,
            f.account, f.rank, f.words, case when j.id is null then f.occurred_at end, e.event_id = f.said_by)::text
        from facts f left join jobs j on j.id = f.job_id left join webhook_events e on e.id = f.webhook_event_id""",
    "payment": """
        select coalesce((select string_agg(o.kind || ' ' || o.object_id, ', ' order by o.kind, o.object_id)
                from payment_objects o where o.payment_id = p.id), 'nameless'),
            (to_jsonb(p) - 'id' - 'last_fact_at')::text
        from payments p where merged_into is null""",
    "job": """
        select topic || ' ' || business_key, jsonb_build_array(merchant, arguments, status, burials, last_error)::text
        from jobs""",
    "refusal": "select request_id, code || ': ' || reason from rejected_requests",
}
NOBODYS = "nobody's"  # bytes whose event is gone: wrong, but nothing that is there twice
PERSONAL = {"metadata", "failure_message", "customer_ref"}  # in the audit log as keyed hashes


class Reckoning(NamedTuple):
    """What the faults have done."""

    events: int
    acknowledged: int
    faults: int
    lost: frozenset[str]
    doubled: Counter[str]
    different: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        """Tell whether nothing is lost, nothing doubled, and every row what it should be."""
        return not (self.lost or self.doubled or self.different)

    @property
    def in_full(self) -> str:
        """Return the line and everything that is wrong."""
        wrong = [f"lost {each}" for each in sorted(self.lost)] + [f"doubled {each}" for each in sorted(self.doubled)]
        return "\n".join((str(self), *wrong, *self.different))

    def __str__(self) -> str:
        return (
            f"events {self.events}, acknowledged {self.acknowledged}, faults {self.faults}, "
            f"lost {len(self.lost)}, doubled {self.doubled.total()}"
        )


def settled(ground: Ground) -> Reckoning:
    """Bring everything back, let the queues and the sweeper do their work, and reckon."""
    ground.settle()
    return reckon(ground, ground.under_faults)


def reckon(ground: Ground, database: GatehouseDatabase) -> Reckoning:
    """Compare the settled database, or a copy of it, with one in which nothing went wrong."""
    record_undisturbed(ground)
    found, wanted = standing(database), standing(ground.undisturbed)
    broken = [
        *(f"unlike the undisturbed: {each}" for each in differences(found, wanted)),
        *(f"bytes of {event_id} changed" for event_id in changed_bytes(ground, database)),
        *(f"audit: {each}" for each in broken_audit(database)),
        *unfolded(database),
    ]
    return Reckoning(
        events=len(ground.sent),
        acknowledged=len(ground.acknowledged),
        faults=ground.faults.total(),
        lost=frozenset(lost(ground.acknowledged, found, wanted)),
        doubled=doubled(found, wanted),
        different=tuple(broken),
    )


Standing = dict[str, Counter[tuple[str, str]]]


def standing(database: GatehouseDatabase) -> Standing:
    """Return everything that stands in a database, without what differs by arrival."""
    return {kind: Counter((row[0] or NOBODYS, row[1]) for row in database.sql(text)) for kind, text in ROWS.items()}


def lost(acknowledged: Iterable[str], found: Standing, wanted: Standing) -> set[str]:
    """Return the acknowledged events of which something is missing: themselves, their bytes, or their facts."""
    kinds = ("event", "payload", "fact")
    have, want = ({kind: _identities(rows[kind]) for kind in kinds} for rows in (found, wanted))
    return {
        event_id
        for event_id in acknowledged
        if have["event"][event_id] == 0 or any(have[kind][event_id] < want[kind][event_id] for kind in kinds)
    }


def doubled(found: Standing, wanted: Standing) -> Counter[str]:
    """Return what stands there more often than it should: an event, its bytes or facts, a job, its effect, a money."""
    return Counter(
        {
            f"{kind} {identity}": surplus
            for kind in ROWS
            for identity, surplus in (_identities(found[kind]) - _identities(wanted[kind])).items()
            if identity != NOBODYS
        }
    )


def differences(found: Standing, wanted: Standing) -> list[str]:
    """Return the rows that stand on one side only."""
    return [
        f"{side} {kind} {identity}: {content}"
        for kind in ROWS
        for side, only in (("found", found[kind] - wanted[kind]), ("missing", wanted[kind] - found[kind]))
        for identity, content in only
    ]


def _identities(rows: Counter[tuple[str, str]]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for (identity, _content), times in rows.items():
        counted[identity] += times
    return counted


def changed_bytes(ground: Ground, database: GatehouseDatabase) -> list[str]:
    """Return the events whose kept bytes are not what was sent."""
    rows = database.sql(
        "select e.event_id, p.key_id, p.sealed from webhook_payloads p join webhook_events e on e.id = webhook_event_id"
    )
    return [
        event_id
        for event_id, key_id, sealed in rows
        if _opened(ground, key_id, sealed, event_id) != ground.sent[event_id].body
    ]


def _opened(ground: Ground, key_id: str, sealed: bytes, event_id: str) -> bytes | None:
    try:
        return ground.keyring.open(key_id, sealed, ("stripe", ground.sent[event_id].account, event_id))
    except SealBroken:
        return None


UNFOLDED = """
select payment_id from fold_payments(array(select id from payments where merged_into is null))
union all
select subject_id from facts where subject_id in (select id from payments where merged_into is not null)
"""


def unfolded(database: GatehouseDatabase) -> list[str]:
    """Return the payments that are not what their facts say, or that were joined to another and still have facts."""
    try:
        return [f"payment {row[0]} is not what its facts say" for row in database.sql(UNFOLDED)]
    except DatabaseError as reason:
        return [f"facts make no payment: {reason.args[0]['M']}"]


def broken_audit(database: GatehouseDatabase) -> list[str]:
    """Follow every payment through the audit log, from its first change to the row as it stands."""
    rows = {row[0]: json.loads(row[1]) for row in database.sql("select id, to_jsonb(p)::text from payments p")}
    known: dict[int, dict[str, Any]] = {}
    broken = []
    log = database.sql(
        "select a.row_id, a.action, a.changes::text, a.actor, e.event_id from payment_audit_log a "
        "left join webhook_events e on e.id = a.webhook_event_id where a.table_name = 'payments' order by a.id"
    )
    for row_id, action, text, actor, event_id in log:
        if (action == "insert") != (row_id not in known):
            broken.append(f"payment {row_id}: {action} in the wrong place")
        if (event_id is None) != (actor == "gatehouse_worker"):
            broken.append(f"payment {row_id}: {action} by {actor} names {event_id or 'no event'}")
        state = known.setdefault(row_id, {})
        for column, (before, after) in json.loads(text).items():
            if state.get(column) != before:
                broken.append(f"payment {row_id}: {column} was {state.get(column)}, not {before}")
            state[column] = after
    for row_id, row in rows.items():
        said = known.get(row_id, {})
        wrong = [name for name in row if name not in PERSONAL and said.get(name) != row[name]]
        broken += [f"payment {row_id}: {name} is {row[name]}, the log says {said.get(name)}" for name in wrong]
    return broken + [f"payment {row_id} is gone" for row_id in known.keys() - rows.keys()]


def record_undisturbed(ground: Ground) -> None:
    """Record what was sent in the other database, in the order in which it happened, and do every job."""
    there = {row[0] for row in ground.undisturbed.sql("select event_id from webhook_events")}
    intake = ground.undisturbed.connect("intake")
    worker = ground.undisturbed.connect("worker")
    client = StripeClient(API_KEY, ground.stripe.url)
    try:
        with redirect_stdout(io.StringIO()):  # the log lines of the work
            for event in ground.sent.values():
                if event.id not in there:
                    record(intake, _delivery(event), ground.keyring)
            _do_jobs(worker, ground.undisturbed, client, ground.keyring)
    finally:
        client.close()
        worker.close()
        intake.close()


def _delivery(event: StripeEvent) -> Delivery:
    account = GatewayAccount("stripe", event.account, MERCHANTS[event.account], "both")
    translated = stripe.translate(stripe.read_event(event.body), event.account)
    signed_by = fingerprint(SIGNING_SECRETS[event.account])
    return Delivery(account, translated, event.body, datetime.now(UTC), signed_by)


def _do_jobs(worker: Database, database: GatehouseDatabase, client: StripeClient, keyring: Keyring) -> None:
    silent = Bell(unreachable_sqs(), {}, {})
    for (job_id,) in database.sql("select id from jobs where status = 'waiting' order by id"):
        workers: dict[str, Worker] = {
            "fetch_fee": lambda job: fetch_fee(job, client),
            "refetch": lambda job: refetch(job, lambda _gateway, _account: client, lambda: keyring),
        }
        work_on(job_id, workers, worker, silent)
