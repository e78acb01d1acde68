"""Records an event: the event itself, its sealed bytes, its facts folded into rows, audit and jobs, in one flush."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.database.sql import Bound, Json, Statement, load_statements
from gatehouse.errors import FactRefused, QueryError, TransactionConflict
from gatehouse.facts import Event, Fact
from gatehouse.http_request import PLAIN_CONTENT_TYPE
from gatehouse.intake.tell import NOTHING_TOLD, ToldFacts, told_facts
from gatehouse.observability import log
from gatehouse.sealing import Keyring

sql = load_statements(Path(__file__).with_name("record.sql"))

NAMES_LEAD_TO_SEVERAL_ROWS = "GH001"  # raised by apply_facts: the account must be ours alone to join them
MOST_ATTEMPTS = 5  # deadlocks and serialisation failures are rare; five in a row would be a defect
MOST_REASON_CHARACTERS = 500


class JobRef(NamedTuple):
    """A job that was just written: what the bell needs to know of it."""

    id: int
    topic: str


class Changed(NamedTuple):
    """A row that an event changed, and its status since."""

    kind: str  # payment, refund, subscription, …
    id: int
    status: str


class Recorded(NamedTuple):
    """What became of an event."""

    status: str  # applied, ignored, failed, duplicate
    event_row: int | None = None
    jobs: tuple[JobRef, ...] = ()
    changed: tuple[Changed, ...] = ()
    reason: str | None = None
    first_received_at: datetime | None = None  # of a duplicate


class Delivery(NamedTuple):
    """One verified request: its event in our words, and the bytes it was read from."""

    account: GatewayAccount
    event: Event
    body: bytes
    received_at: datetime
    signed_by: str | None = None  # fingerprint of the secret that signed it
    request_id: str | None = None  # what the front door called the request
    content_type: str = PLAIN_CONTENT_TYPE  # what the gateway called the bytes


def record(database: Database, delivery: Delivery, keyring: Keyring) -> Recorded:
    """Record an event once for ever; a second delivery changes nothing and is said to be a duplicate."""
    event, account = delivery.event, delivery.account
    key_id, sealed = keyring.seal(delivery.body, (account.gateway, account.account, event.event_id))
    return _settle(
        database,
        delivery,
        sql.record_event,
        type=event.type,
        livemode=account.livemode_of(event.livemode),
        signed_by=delivery.signed_by,
        request_id=delivery.request_id,
        key_id=key_id,
        sealed=sealed,
        content_type="" if delivery.content_type == PLAIN_CONTENT_TYPE else delivery.content_type,
    )


def reapply(database: Database, delivery: Delivery) -> Recorded:
    """Take up again an event that is kept as failed or ignored; one in any other state is left alone."""
    return _settle(database, delivery, sql.reapply_event)


def fetched_facts(
    account: GatewayAccount,
    facts: tuple[Fact, ...],
    *,
    said_by: str,
    occurred_at: datetime,
    job_id: int,
    livemode: bool | None = None,
) -> list[Bound]:
    """Return the statements that apply facts which a job fetched; they belong into the flush that ends the job.

    Facts with several names may show two rows to be one. A job cannot come again for that, so it takes the account
    alone from the start.
    """
    told = told_facts(account, facts, livemode=livemode)
    joining = len(told.names) > 1
    account_lock, name_locks = _locks(account, told)
    return [
        sql.take_recording_locks(
            merchant=account.merchant, account_lock=account_lock, name_locks=name_locks, joining=joining
        ),
        sql.apply_facts(
            merchant=account.merchant,
            gateway=account.gateway,
            account=account.account,
            facts=Json(told.facts),
            said_by=said_by,
            job_id=job_id,
            occurred_at=occurred_at,
            joining=joining,
        ),
    ]


def folding(account: GatewayAccount, kind: str, ids: list[int]) -> list[Bound]:
    """Return the statements that make an account's rows of one kind anew from their facts, recordings beside them."""
    if kind == "payment":
        return [account_lock(account), sql.fold_payments(payment_ids=ids)]
    return [account_lock(account), sql.fold_subjects(kind=kind, subject_ids=ids)]


def account_lock(account: GatewayAccount, *, alone: bool = False) -> Bound:
    """Return the statement that takes an account's lock: beside its recordings, or alone, after those under way."""
    lock, _names = _locks(account, NOTHING_TOLD)
    return sql.take_recording_locks(merchant=account.merchant, account_lock=lock, name_locks=[], joining=alone)


def recording_locks(account: GatewayAccount, names: Sequence[str], *, alone: bool = False) -> Bound:
    """Return the statement that takes the locks of many names, as one recording of all of them would."""
    lock, name_locks = _locks(account, ToldFacts({}, tuple(names)))
    return sql.take_recording_locks(
        merchant=account.merchant, account_lock=lock, name_locks=[] if alone else name_locks, joining=alone
    )


def refold(database: Database, account: GatewayAccount, payment_ids: list[int]) -> list[tuple[int, str]]:
    """Make an account's payments anew from their facts; return those whose row was not what its facts say."""
    rows = database.flush(folding(account, "payment", payment_ids))[-1].rows
    return [(row["payment_id"], row["payment_status"]) for row in rows]


def _settle(database: Database, delivery: Delivery, write: Statement, **more: Any) -> Recorded:
    """Flush until the event stands: again after a conflict, joining where names meet, alone where facts are refused."""
    event, account = delivery.event, delivery.account
    livemode = account.livemode_of(event.livemode)
    not_ours = account.refuses(livemode=livemode)
    reason = not_ours or event.refused_because or event.ignored_because
    status = "applied" if not reason else "failed" if event.refused_because and not not_ours else "ignored"
    told = NOTHING_TOLD
    if status == "applied":
        try:
            told = told_facts(account, event.facts, livemode=livemode)
        except FactRefused as refusal:
            status, reason = "failed", str(refusal)
    joining = False
    for _attempt in range(MOST_ATTEMPTS):
        bound = _bound(delivery, write, told, status, reason, joining=joining, more=more)
        try:
            outcome = database.flush([bound], idempotent=True)[0].rows[0]["outcome"]
            return _recorded(outcome, status, reason)
        except TransactionConflict as conflict:
            log.info("recording again after a conflict", reason=str(conflict))
        except QueryError as refusal:
            if refusal.sqlstate == NAMES_LEAD_TO_SEVERAL_ROWS and not joining:
                joining = True
            elif status == "applied":
                # The database refuses what the facts say. The event itself is not lost: it is kept alone, with why.
                status, reason, told = "failed", f"{refusal.code}: {refusal}"[:MOST_REASON_CHARACTERS], NOTHING_TOLD
            else:
                raise
    raise TransactionConflict(f"{event.event_id} could not be recorded in {MOST_ATTEMPTS} attempts")


def _bound(
    delivery: Delivery,
    write: Statement,
    told: ToldFacts,
    status: str,
    reason: str | None,
    *,
    joining: bool,
    more: dict[str, Any],
) -> Bound:
    account, event = delivery.account, delivery.event
    needs = event.needs if status == "applied" else ()
    account_lock, name_locks = _locks(account, told, event.event_id)
    return write(
        merchant=account.merchant,
        gateway=account.gateway,
        account=account.account,
        event_id=event.event_id,
        occurred_at=event.occurred_at,
        received_at=delivery.received_at,
        status=status,
        reason=reason,
        reference=event.reference,
        facts=Json(told.facts),
        needs=Json([{"topic": need.topic, "key": need.key, "arguments": need.arguments} for need in needs]),
        account_lock=account_lock,
        name_locks=name_locks,
        joining=joining,
        **more,
    )


def _recorded(outcome: dict[str, Any], status: str, reason: str | None) -> Recorded:
    if "event_row" not in outcome:
        first = outcome.get("first_received_at")
        return Recorded(
            "duplicate", outcome.get("duplicate_of"), first_received_at=datetime.fromisoformat(first) if first else None
        )
    return Recorded(
        status,
        outcome["event_row"],
        tuple(JobRef(job["id"], job["topic"]) for job in outcome["jobs"]),
        tuple(Changed(each["kind"], each["id"], each["status"]) for each in outcome["changed"]),
        reason,
    )


def _locks(account: GatewayAccount, told: ToldFacts, *events: str) -> tuple[int, list[int]]:
    """Return the lock of the account and those of the names, sorted so that nobody waits for anybody in a ring."""
    whose = f"{account.gateway}/{account.account}"
    names = (*told.names, *(f"event/{event}" for event in events))
    return _lock_key(whose), sorted({_lock_key(f"{whose}/{name}") for name in names})


def _lock_key(name: str) -> int:
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big", signed=True)
