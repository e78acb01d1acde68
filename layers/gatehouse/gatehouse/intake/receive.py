"""What every webhook function does with a request: exact bytes, really from them, our words, one flush, bell, 200."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple, Protocol

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database, database
from gatehouse.errors import ConnectionError, GatehouseError, RequestRefused, SignatureRefused, TimeoutError
from gatehouse.facts import Event
from gatehouse.gateways import Verified
from gatehouse.http_request import HttpRequest, answer, read_request
from gatehouse.intake.accounts import default_account
from gatehouse.intake.inbox import Inbox, inbox
from gatehouse.intake.record import Delivery, Recorded, record
from gatehouse.jobs.bell import Bell, bell
from gatehouse.observability import log, metrics
from gatehouse.sealing import Keyring
from gatehouse.secrets import secret
from gatehouse.settings import settings

METRIC_OF = {
    "applied": "EventsRecorded",
    "duplicate": "EventsDuplicate",
    "ignored": "EventsIgnored",
    "failed": "EventsFailed",
}


class Gateway(Protocol):
    """What a gateway's package offers to intake."""

    NAME: str

    def verify(self, request: HttpRequest, account: GatewayAccount, *, now: datetime) -> Verified:
        """Return which of the account's secrets signed the request, or raise SignatureRefused."""
        ...

    def read_event(self, body: bytes) -> dict[str, Any]:
        """Parse the body, or raise RequestRefused when it is no event."""
        ...

    def translate(self, payload: dict[str, Any], account: str) -> Event:
        """Say in our words what the payload says."""
        ...


class Desk(NamedTuple):
    """What intake works with; tests hand in their own."""

    database: Callable[[], Database]
    keyring: Callable[[], Keyring]
    account: Callable[[str], GatewayAccount]
    bell: Callable[[], Bell]
    inbox: Callable[[], Inbox]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


def webhook_handler(gateway: Gateway) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """Return the Lambda handler of one gateway's webhook."""

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        log.bind(request_id=getattr(context, "aws_request_id", None), gateway=gateway.NAME)
        try:
            return receive(gateway, event, process_desk())
        finally:
            metrics.emit()

    return handler


def receive(gateway: Gateway, event: Mapping[str, Any], desk: Desk) -> dict[str, Any]:
    """Answer one webhook request; every way it can end is one of these answers."""
    began = time.monotonic()
    try:
        status, words = 200, _take(gateway, event, desk)
    except GatehouseError as error:
        _count_refusal(error, gateway.NAME)
        log.warning("request not taken", code=error.code, reason=str(error))
        # What went wrong inside is for the log; the sender learns only that it should try again.
        reason = str(error) if isinstance(error, RequestRefused) else "try again later"
        status = error.http_status if isinstance(error, RequestRefused) else 503
        words = {"error": {"code": error.code, "message": reason}}
    metrics.measure("IntakeTime", (time.monotonic() - began) * 1000, gateway=gateway.NAME)
    return answer(status, words)


def _take(gateway: Gateway, event: Mapping[str, Any], desk: Desk) -> dict[str, Any]:
    request = read_request(event, now=desk.now())
    log.add(api_request_id=request.request_id)
    account = desk.account(gateway.NAME)
    verified = gateway.verify(request, account, now=desk.now())
    if verified.secret_index > 0:
        metrics.count("OldSecretUsed", gateway=gateway.NAME)
    payload = gateway.read_event(request.body)
    delivery = Delivery(account, gateway.translate(payload, account.account), request.body, request.received_at)
    log.add(event_id=delivery.event.event_id, event_type=delivery.event.type)
    try:
        recorded = record(desk.database(), delivery, desk.keyring())
    except (ConnectionError, TimeoutError) as away:
        desk.inbox().put(account, request.received_at, request.body, desk.keyring())
        metrics.count("EventsQueued", gateway=gateway.NAME)
        log.warning("database away; the request waits in the inbox", code=away.code, reason=str(away))
        return {"status": "queued", "event": delivery.event.event_id}
    tell(recorded, gateway.NAME)
    if recorded.jobs:
        desk.bell().ring(recorded.jobs)
    return _words(delivery.event, recorded)


def tell(recorded: Recorded, gateway: str) -> None:
    """Count and log what became of an event."""
    metrics.count(METRIC_OF[recorded.status], gateway=gateway)
    level = log.warning if recorded.status == "failed" else log.info
    level(
        f"event {recorded.status}",
        event_row=recorded.event_row,
        payments=[payment_id for payment_id, _status in recorded.payments],
        reason=recorded.reason,
    )


def _words(event: Event, recorded: Recorded) -> dict[str, Any]:
    words: dict[str, Any] = {"status": recorded.status, "event": event.event_id}
    if recorded.first_received_at:
        words["first_received_at"] = recorded.first_received_at.isoformat()
    if recorded.status == "ignored":
        words["reason"] = recorded.reason
    return words


def _count_refusal(error: GatehouseError, gateway: str) -> None:
    if isinstance(error, SignatureRefused):
        metrics.count("SignaturesRefused", gateway=gateway)
    elif isinstance(error, RequestRefused):
        metrics.count("RequestsRefused", gateway=gateway)
    else:
        metrics.count("EventsTurnedAway", gateway=gateway)


@cache
def process_desk() -> Desk:
    """Return what this process works with, each part made when it is first needed."""
    return Desk(
        database=database,
        keyring=process_keyring,
        account=lambda gateway: default_account(gateway, secret(settings().gateway_secret_arn)),
        bell=bell,
        inbox=inbox,
    )


def process_keyring() -> Keyring:
    """Return the data keys, made anew only when their secret has changed."""
    return _keyring_of(secret(settings().data_keys_secret_arn))


_made: list[tuple[Any, Keyring]] = []


def _keyring_of(content: Any) -> Keyring:
    if not _made or _made[0][0] is not content:
        _made[:] = [(content, Keyring(content))]
    return _made[0][1]
