"""Records an event: the event itself, its sealed bytes, its facts folded into rows, audit and jobs, in one flush."""

import json
from dataclasses import fields
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.database.sql import Bound, load_statements
from gatehouse.errors import (
    DatabaseError,
    QueryError,
    TransactionConflict,
    ValidationError,
)
from gatehouse.facts import LADDER, Event, PaymentFact
from gatehouse.intake.accounts import GatewayAccount
from gatehouse.sealing import Keyring

sql = load_statements(Path(__file__).with_name("record.sql"))

NAMES_LEAD_TO_SEVERAL_PAYMENTS = "GH001"  # raised by place_facts: the joining flush is needed
MOST_ATTEMPTS = 5  # deadlocks and serialisation failures are rare; five in a row would be a defect

_WORDS = tuple(field.name for field in fields(PaymentFact) if field.name != "objects")
_STEP_OF = {status: step for step, status in enumerate(LADDER, start=1)}


class JobRef(NamedTuple):
    """A job that was just written: what the bell needs to know of it."""

    id: int
    topic: str


class Recorded(NamedTuple):
    """What became of an event."""

    status: str  # applied, ignored, failed, duplicate
    event_row: int | None = None
    jobs: tuple[JobRef, ...] = ()
    payments: tuple[tuple[int, str], ...] = ()  # id and status of each payment that changed
    reason: str | None = None
    first_received_at: datetime | None = None  # of a duplicate


class Delivery(NamedTuple):
    """One verified request: its event in our words, and the bytes it was read from."""

    account: GatewayAccount
    event: Event
    body: bytes
    received_at: datetime


def record(database: Database, delivery: Delivery, keyring: Keyring) -> Recorded:
    """Record an event once for ever; a second delivery changes nothing and is said to be a duplicate."""
    event, account = delivery.event, delivery.account
    key_id, sealed = keyring.seal(delivery.body, (account.gateway, account.account, event.event_id))
    return _settle(database, delivery, sql.insert_event, key_id=key_id, sealed=sealed)


def reapply(database: Database, delivery: Delivery) -> Recorded:
    """Take up again an event that is kept as failed or ignored; one in any other state is left alone."""
    return _settle(database, delivery, sql.reopen_event)


def payment_facts_flush(
    account: GatewayAccount, facts: tuple[PaymentFact, ...], *, said_by: str, occurred_at: datetime, job_id: int
) -> tuple[list[Bound], list[Bound]]:
    """Return the statements that add facts which a job fetched: what goes before the job's own, and what after."""
    names = _names(facts)
    before = [_prepare(sql.prepare, account, names), _lock_payments(account, names)]
    return before, [*_place(account, facts, said_by, occurred_at, job_id), sql.fold_payments()]


def refold(database: Database, merchant: str, payment_ids: list[int]) -> list[tuple[int, str]]:
    """Make payments anew from their facts; return those whose row was not what its facts say."""
    prepare = sql.prepare(merchant=merchant, account_lock=_lock_key("refold"), name_locks=[])
    results = database.flush([prepare, sql.choose_payments(payment_ids=payment_ids), sql.fold_payments()])
    return [(row["id"], row["status"]) for row in results[-1].rows]


def _settle(database: Database, delivery: Delivery, write_event: Any, **payload: Any) -> Recorded:
    """Flush until the event stands: again after a conflict, joining where names meet, alone where facts are refused."""
    event = delivery.event
    reason = event.refused_because or event.ignored_because or delivery.account.refuses(livemode=event.livemode)
    status = "failed" if event.refused_because else "ignored" if reason else "applied"
    facts = () if reason else event.facts
    joining = False
    for attempt in range(1, MOST_ATTEMPTS + 1):
        flush = _flush(delivery, facts, status, reason, write_event, joining=joining, payload=payload)
        try:
            results = database.flush(flush, idempotent=True)
            return _recorded(flush, results, status, reason)
        except TransactionConflict:
            if attempt == MOST_ATTEMPTS:
                raise
        except (QueryError, ValidationError) as refusal:
            if refusal.sqlstate == NAMES_LEAD_TO_SEVERAL_PAYMENTS and not joining:
                joining = True
            elif facts or event.needs:
                # The database refuses what the facts say. The event itself is not lost: it is kept alone, with why.
                facts, status, reason = (), "failed", _plain(refusal)
            else:
                raise
    raise TransactionConflict(f"{event.event_id} could not be recorded in {MOST_ATTEMPTS} attempts")


def _flush(
    delivery: Delivery,
    facts: tuple[PaymentFact, ...],
    status: str,
    reason: str | None,
    write_event: Any,
    *,
    joining: bool,
    payload: dict[str, Any],
) -> list[Bound]:
    account, event = delivery.account, delivery.event
    names = _names(facts)
    needs = event.needs if status == "applied" else ()
    flush = [_prepare(sql.prepare_join if joining else sql.prepare, account, names, event.event_id)]
    if facts:
        flush.append(_lock_payments(account, names))
    flush.append(
        write_event(
            gateway=account.gateway,
            account=account.account,
            event_id=event.event_id,
            merchant=account.merchant,
            status=status,
            reason=reason,
            reference=event.reference,
            needs=json.dumps([{"topic": need.topic, "key": need.key, "arguments": need.arguments} for need in needs]),
            **payload,
            **(
                {
                    "type": event.type,
                    "livemode": event.livemode,
                    "occurred_at": event.occurred_at,
                    "received_at": delivery.received_at,
                }
                if write_event is sql.insert_event
                else {}
            ),
        )
    )
    if facts:
        if joining:
            flush.append(
                sql.join_payments(gateway=account.gateway, account=account.account, facts=json.dumps(_told(facts)))
            )
        flush += _place(account, facts, event.event_id, event.occurred_at, None)
        flush.append(sql.fold_payments())
    return flush


def _recorded(flush: list[Bound], results: list[Any], status: str, reason: str | None) -> Recorded:
    by_name = {bound.statement.name: result for bound, result in zip(flush, results, strict=True)}
    written = (by_name.get("insert_event") or by_name["reopen_event"]).rows[0]
    if written["event_row"] is None:
        return Recorded("duplicate", written["earlier_row"], first_received_at=written["earlier_received_at"])
    changed = by_name["fold_payments"].rows if "fold_payments" in by_name else []
    return Recorded(
        status,
        written["event_row"],
        tuple(JobRef(job["id"], job["topic"]) for job in written["jobs"] or ()),
        tuple((row["id"], row["status"]) for row in changed),
        reason,
    )


def _prepare(statement: Any, account: GatewayAccount, names: list[dict[str, str]], *more_names: str) -> Bound:
    """Bind the locks: sorted, so that two flushes never wait for each other in a ring."""
    whose = f"{account.gateway}/{account.account}"
    locks = {_lock_key(f"{whose}/{name['kind']}/{name['id']}") for name in names}
    locks |= {_lock_key(f"{whose}/event/{name}") for name in more_names}
    bound: Bound = statement(merchant=account.merchant, account_lock=_lock_key(whose), name_locks=sorted(locks))
    return bound


def _lock_payments(account: GatewayAccount, names: list[dict[str, str]]) -> Bound:
    return sql.lock_payments(gateway=account.gateway, account=account.account, names=json.dumps(names))


def _place(
    account: GatewayAccount, facts: tuple[PaymentFact, ...], said_by: str, occurred_at: datetime, job_id: int | None
) -> list[Bound]:
    return [
        sql.place_facts(
            gateway=account.gateway,
            account=account.account,
            merchant=account.merchant,
            facts=json.dumps(_told(facts)),
            said_by=said_by,
            occurred_at=occurred_at,
            job_id=job_id,
        )
    ]


def _names(facts: tuple[PaymentFact, ...]) -> list[dict[str, str]]:
    names = [{"kind": name.kind, "id": name.id} for fact in facts for name in fact.objects]
    if len({(name["kind"], name["id"]) for name in names}) != len(names):
        raise ValueError("two facts of one event name the same object: translate must make one fact of them")
    return names


def _told(facts: tuple[PaymentFact, ...]) -> list[dict[str, Any]]:
    """Return facts as record.sql reads them: the words that say something, the step of the ladder, the names."""
    return [
        {
            "n": n,
            "rank": _STEP_OF[fact.status] if fact.status else 0,
            "words": {word: _plain_word(value) for word in _WORDS if (value := getattr(fact, word)) is not None},
            "objects": [{"kind": name.kind, "id": name.id} for name in fact.objects],
        }
        for n, fact in enumerate(facts)
    ]


def _plain_word(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _lock_key(name: str) -> int:
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big", signed=True)


def _plain(refusal: DatabaseError) -> str:
    return f"{refusal.code}: {refusal}"[:500]
