"""What every webhook function does with a request: exact bytes, really from them, our words, one flush, bell, 200."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple, Protocol

from gatehouse.accounts import GatewayAccount, fingerprint
from gatehouse.data_keys import process_keyring
from gatehouse.database.connection import Database, database
from gatehouse.errors import (
    ConnectionError,
    GatehouseError,
    RequestRefused,
    ServiceUnavailable,
    SignatureRefused,
    TimeoutError,
)
from gatehouse.facts import Event
from gatehouse.forwarding.loops import is_our_own
from gatehouse.gateways import Verified
from gatehouse.http_request import HttpRequest, answer, read_request
from gatehouse.intake.accounts import DEFAULT_ACCOUNT, AccountDirectory, AccountNotReachable
from gatehouse.intake.inbox import Inbox, Waiting, inbox
from gatehouse.intake.record import Delivery, Recorded, record
from gatehouse.intake.rejected import Rejections
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
    accounts: Callable[[str], AccountDirectory]  # by gateway
    bell: Callable[[], Bell]
    inbox: Callable[[], Inbox]
    rejections: Rejections
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
    request: HttpRequest | None = None
    metrics.count("EventsReceived", gateway=gateway.NAME)
    try:
        request = read_request(event, now=desk.now())
        log.add(api_request_id=request.request_id, account=account_named_in(request))
        if is_our_own(request.headers):
            raise RequestRefused(
                "a Gatehouse has forwarded this; its app's address is a webhook", code="FORWARDED_BY_US"
            )
        status, words = 200, _take(gateway, request, desk)
    except RequestRefused as refusal:
        metrics.count(
            "SignaturesRefused" if isinstance(refusal, SignatureRefused) else "RequestsRefused", gateway=gateway.NAME
        )
        metrics.count("RequestsRejected", reason=refusal.code)
        log.warning("request refused", code=refusal.code, reason=str(refusal))
        if request is not None:
            desk.rejections.note(desk.database, gateway.NAME, account_named_in(request), request, refusal)
        status, words = refusal.http_status, {"error": {"code": refusal.code, "message": str(refusal)}}
    except GatehouseError as error:
        # What went wrong inside is for the log; the sender learns only that it should try again.
        metrics.count("EventsTurnedAway", gateway=gateway.NAME)
        log.error("request turned away", error=error)
        status, words = 503, {"error": {"code": error.code, "message": "try again later"}}
    metrics.measure("IntakeTime", (time.monotonic() - began) * 1000, gateway=gateway.NAME)
    return answer(status, words)


def account_named_in(request: HttpRequest) -> str:
    """Return the account that a request's URL names."""
    return request.path_parameters.get("account") or request.query.get("account") or DEFAULT_ACCOUNT


def verified_account(
    gateway: Gateway, request: HttpRequest, directory: AccountDirectory, now: datetime
) -> tuple[GatewayAccount, str]:
    """Return the account and the fingerprint of the secret that signed; asks for newer secrets before it refuses."""
    account = directory.find(account_named_in(request))
    try:
        verified = gateway.verify(request, account, now=now)
    except SignatureRefused:
        newer = directory.refreshed(account.account)
        if newer is None or newer == account:
            raise
        account = newer
        verified = gateway.verify(request, account, now=now)
    if verified.secret_index > 0:
        metrics.count("OldSecretUsed", gateway=gateway.NAME)
    metrics.count("EventsVerified", gateway=gateway.NAME)
    return account, fingerprint(account.signing_secrets[verified.secret_index])


def _take(gateway: Gateway, request: HttpRequest, desk: Desk) -> dict[str, Any]:
    try:
        account, signed_by = verified_account(gateway, request, desk.accounts(gateway.NAME), desk.now())
    except AccountNotReachable as away:
        # Who sent it cannot be checked now. It is kept, checked when it is recorded, and dropped if it is forged.
        gateway.read_event(request.body)
        return _put_away(Waiting(gateway.NAME, account_named_in(request), None, None, request), desk, away)
    payload = gateway.read_event(request.body)
    event = gateway.translate(payload, account.account)
    log.add(event_id=event.event_id, event_type=event.type)
    delivery = Delivery(
        account, event, request.body, request.received_at, signed_by, request.request_id, request.content_type
    )
    began = time.monotonic()
    try:
        recorded = record(desk.database(), delivery, desk.keyring())
    except (ConnectionError, TimeoutError) as away:
        return _put_away(Waiting(gateway.NAME, account.account, account, signed_by, request), desk, away)
    metrics.measure("RecordingTime", (time.monotonic() - began) * 1000, gateway=gateway.NAME)
    tell(recorded, gateway.NAME)
    if recorded.jobs:
        desk.bell().ring(recorded.jobs)
    if recorded.changed:
        desk.bell().ring_for_backup()
    return _words(event, recorded)


def _put_away(waiting: Waiting, desk: Desk, away: GatehouseError) -> dict[str, Any]:
    try:
        desk.inbox().put(waiting, desk.keyring())
    except ServiceUnavailable as error:
        raise error from away
    metrics.count("EventsQueued", gateway=waiting.gateway)
    log.warning("database away; the request waits in the inbox", code=away.code, reason=str(away))
    return {"status": "queued"}


def tell(recorded: Recorded, gateway: str) -> None:
    """Count and log what became of an event."""
    metrics.count(METRIC_OF[recorded.status], gateway=gateway)
    level = log.warning if recorded.status == "failed" else log.info
    level(
        f"event {recorded.status}",
        event_row=recorded.event_row,
        changed=[f"{each.kind} {each.id}" for each in recorded.changed],
        reason=recorded.reason,
    )


def _words(event: Event, recorded: Recorded) -> dict[str, Any]:
    words: dict[str, Any] = {"status": recorded.status, "event": event.event_id}
    if recorded.first_received_at:
        words["first_received_at"] = recorded.first_received_at.isoformat()
    if recorded.status == "ignored":
        words["reason"] = recorded.reason
    return words


@cache
def process_desk() -> Desk:
    """Return what this process works with, each part made when it is first needed."""
    return Desk(
        database=database,
        keyring=process_keyring,
        accounts=_process_directory,
        bell=bell,
        inbox=inbox,
        rejections=Rejections(),
    )


@cache
def _process_directory(gateway: str) -> AccountDirectory:
    return AccountDirectory(gateway, database, process_keyring, _default_secret, stage=settings().stage)


def _default_secret(refresh: bool) -> Mapping[str, Any]:
    """Return the secret of the default account; a deployment need not have one at every gateway."""
    arn = settings().gateway_secret_arn
    return secret(arn, refresh=refresh) if arn else {}
