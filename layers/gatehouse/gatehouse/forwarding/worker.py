"""Forwards the event of one job to one app: gate, exact bytes, delivery, and a log row written with the job's end.

What is held back (the app is paused, its circuit is open, it asks for less speed) was not tried: it burns no attempt.
"""

from collections.abc import Callable, Mapping
from functools import cache
from secrets import SystemRandom
from typing import Any, NamedTuple

from gatehouse.data_keys import process_keyring
from gatehouse.database.connection import Database, database
from gatehouse.database.sql import Bound
from gatehouse.forwarding import circuit as circuits
from gatehouse.forwarding import rate
from gatehouse.forwarding.app_rows import bucket_of, circuit_of, opened, sql, with_secret
from gatehouse.forwarding.connections import Connections
from gatehouse.forwarding.deliver import TIMEOUT, App, Deliverer, Delivery, Message, Patience, Transport
from gatehouse.forwarding.outcome import What
from gatehouse.forwarding.redriver import take_a_turn
from gatehouse.forwarding.sign import message_id
from gatehouse.forwarding.silence import Silence
from gatehouse.http_request import PLAIN_CONTENT_TYPE
from gatehouse.jobs.bell import bell
from gatehouse.jobs.claim import Done, Held, Hopeless, Job, Outcome, Postponed, Worker
from gatehouse.observability import log, metrics
from gatehouse.sealing import Keyring
from gatehouse.settings import settings

THREADS = 10  # as many as a batch has messages, so that an app which does not answer holds up no other
PAUSED_SECONDS = (
    900.0  # `gatehouse apps resume` wakes what waits, so this is only how often a forgotten one is looked at
)
MOST_SPREAD_SECONDS = 120.0
LEAST_SPREAD_SECONDS = 5.0

Row = dict[str, Any]
_random = SystemRandom()


class Desk(NamedTuple):
    """What forwarding works with; tests hand in their own."""

    database: Callable[[], Database]
    keyring: Callable[[], Keyring]
    transport: Transport
    patience: Patience = Patience()
    router_source: str = "nexai-paystack-router"
    allowed_local: tuple[str, ...] = ()
    deliverer: Callable[..., Deliverer] = Deliverer
    silence: Silence = Silence()  # of this process


def workers() -> Mapping[str, Worker]:
    """Return the worker of each topic of the forwarding queue."""
    desk = process_desk()
    return {"forward": lambda job: forward(job, desk), "redrive": lambda job: take_a_turn(job, desk.database(), bell())}


@cache
def process_desk() -> Desk:
    """Return what this process works with."""
    chosen = settings()
    return Desk(
        database=database,
        keyring=process_keyring,
        transport=Connections(),
        patience=Patience(chosen.forwarding_retry_attempts, chosen.forwarding_timeout_ms / 1000),
        router_source=chosen.forwarding_source,
        allowed_local=chosen.allowed_local,
    )


def forward(job: Job, desk: Desk) -> Outcome:
    """Deliver the job's event to its app and say what that means for the job."""
    rows = desk.database().query(sql.what_to_forward, job=job.id, app=job.arguments.get("app"))
    if not rows:
        return Hopeless("the job names no event")
    row = rows[0]
    if stop := _cannot_go(row) or _held_at_the_gate(row, desk):
        return stop
    body = desk.keyring().open(row["payload_key_id"], row["payload"], (row["gateway"], row["account"], row["event_id"]))
    delivery = _deliver(row, body, desk)
    _tell(row, delivery)
    if delivery.what == "retry":
        _note_failure(row, delivery, desk)
    return _outcome(row, delivery, _effects(job, row, delivery))


def _cannot_go(row: Row) -> Outcome | None:
    if row["app"] is None or row["url"] is None:
        return Hopeless("the app has no address any more; `gatehouse apps set` gives it one")
    if row["payload"] is None:
        return Hopeless("the bytes of the event are gone: retention has dropped them, or their person was erased")
    if row["is_paused"]:
        return Held(f"the app is paused: {row['paused_because'] or 'by hand'}", PAUSED_SECONDS)
    return None


def _held_at_the_gate(row: Row, desk: Desk) -> Held | None:
    """Ask circuit and rate; an app without troubles and without a rate is let through without another question."""
    if row["circuit_state"] == "closed" and row["rate_per_second"] is None:
        return None
    with desk.database().transaction() as transaction:
        state = transaction.query_one(sql.lock_state, merchant=row["merchant"], app=row["app"])
        circuit, bucket = circuit_of(state), bucket_of(state)
        allowed = circuits.may_send(circuit, state["now"])
        if isinstance(allowed, circuits.Hold):
            seconds = (allowed.until - state["now"]).total_seconds()
            return Held("the app does not answer; it is left alone for a while", seconds + _spread_seconds(seconds))
        if state["rate_per_second"] is not None:
            taken = rate.take(bucket, per_second=state["rate_per_second"], burst=state["burst"], now=state["now"])
            if taken.wait_seconds:
                # Many wait for the same bucket: spread, or all but one would come in vain at the same moment.
                queue_seconds = _random.uniform(0, LEAST_SPREAD_SECONDS)
                return Held("the app is told no faster than it wants", taken.wait_seconds + queue_seconds)
            bucket = taken.bucket
        if isinstance(allowed, circuits.Probe):
            circuit = circuits.probing(circuit, state["now"])
        transaction.flush([_state_written(row, circuit, bucket)])
    return None


def _spread_seconds(hold_seconds: float) -> float:
    """Return a chance delay: what is held comes back a little at a time, and the probe has time to bring its news."""
    return _random.uniform(0, min(max(hold_seconds, LEAST_SPREAD_SECONDS), MOST_SPREAD_SECONDS))


def _deliver(row: Row, body: bytes, desk: Desk) -> Delivery:
    content = opened(desk.keyring(), row["merchant"], row, row["app"])
    if not content.secrets:
        content = with_secret(desk.database(), desk.keyring(), row["merchant"], row["app"])
    patience = Patience(
        row["attempts"] or desk.patience.attempts,
        (row["attempt_milliseconds"] or desk.patience.attempt_seconds * 1000) / 1000,
        tuple(row["waits_milliseconds"] or desk.patience.waits_milliseconds),
    )
    message = Message(
        message_id(row["gateway"], row["account"], row["event_id"]),
        row["gateway"],
        row["type"],
        body,
        row["content_type"] or PLAIN_CONTENT_TYPE,
    )
    app = App(row["url"], content.secrets, content.headers, row["router_source"] or desk.router_source)
    whose = (row["merchant"], row["app"])
    is_probe = row["circuit_state"] != "closed"

    def may_try_again(error_class: str | None) -> bool:
        # Silence is waited for by the whole batch: a probe that meets it knows enough after one attempt.
        return error_class != TIMEOUT or not (desk.silence.note(whose) or is_probe)

    deliverer = desk.deliverer(
        desk.transport, patience=patience, allowed_local=desk.allowed_local, may_try_again=may_try_again
    )
    delivery = deliverer.deliver(message, app)
    if delivery.status_code is not None:
        desk.silence.broken(whose)
    return delivery


def _note_failure(row: Row, delivery: Delivery, desk: Desk) -> None:
    with desk.database().transaction() as transaction:
        state = transaction.query_one(sql.lock_state, merchant=row["merchant"], app=row["app"])
        circuit = circuits.after(
            circuit_of(state), delivery.what, state["now"], retry_after_seconds=delivery.retry_after_seconds
        )
        transaction.flush([_state_written(row, circuit, bucket_of(state))])


def _state_written(row: Row, circuit: circuits.Circuit, bucket: rate.Bucket | None) -> Bound:
    return sql.write_state(
        merchant=row["merchant"],
        app=row["app"],
        circuit_state=circuit.state,
        circuit_failures=circuit.consecutive_failures,
        circuit_opened_at=circuit.opened_at,
        circuit_probe_at=circuit.probe_at,
        bucket_tokens=str(bucket.tokens) if bucket else None,
        bucket_filled_at=bucket.filled_at if bucket else None,
    )


def _effects(job: Job, row: Row, delivery: Delivery) -> list[Bound]:
    """Return what is written in the flush that settles the job: the log row, and what the answer says of the app."""
    app = {"merchant": row["merchant"], "app": row["app"]}
    logged = sql.log_delivery(
        **app,
        target_url=row["url"].partition("?")[0],
        ok=delivery.ok,
        status_code=delivery.status_code,
        attempt_count=delivery.attempt_count,
        error_message=delivery.error_message,
        # An address is no name for a payment, and would outlive the erasure of its person.
        reference=None if "@" in (row["reference"] or "") else row["reference"],
        gateway=row["gateway"],
        duration_ms=delivery.duration_milliseconds,
        error_class=delivery.error_class,
        event_row=row["event_row"],
        job=job.id,
    )
    was_well = row["circuit_state"] == "closed" and row["circuit_failures"] == 0  # nearly always: nothing to note
    answers = [] if was_well else [sql.close_circuit(**app)]
    because: Mapping[What, list[Bound]] = {
        "delivered": answers,
        "final": answers,
        "gone": [sql.pause(**app, because="it answered 410: it wants nothing more")],
        "retry": [],
    }
    return [*because[delivery.what], logged]


def _outcome(row: Row, delivery: Delivery, effects: list[Bound]) -> Outcome:
    reason = f"{delivery.error_class}: {delivery.error_message}"
    if delivery.what == "delivered":
        return Done(effects)
    if delivery.what == "retry":
        return Postponed(reason, delivery.retry_after_seconds or 0.0, effects)
    if delivery.what == "gone":
        log.warning("app paused", app=row["app"], merchant=row["merchant"], reason=reason)
    return Hopeless(reason, effects)


def _tell(row: Row, delivery: Delivery) -> None:
    metrics.count("ForwardsDelivered" if delivery.ok else "ForwardsFailed", app=row["app"])
    if delivery.ok:
        waited = (row["now"] - row["received_at"]).total_seconds() * 1000
        metrics.measure("ForwardTime", waited + delivery.duration_milliseconds, app=row["app"])
    log.info(
        "delivery ended",
        app=row["app"],
        event_row=row["event_row"],
        what=delivery.what,
        status=delivery.status_code,
        attempts=delivery.attempt_count,
        milliseconds=delivery.duration_milliseconds,
        error_class=delivery.error_class,
    )
