"""Records what waited in the inbox while Postgres was away."""

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from gatehouse.errors import (
    AwsError,
    ConnectionError,
    RequestRefused,
    SealBroken,
    SignatureRefused,
    TimeoutError,
    UnknownKey,
)
from gatehouse.gateways import gateway_named
from gatehouse.intake import record as recording
from gatehouse.intake.inbox import NotAnInboxMessage, Waiting, opened_message
from gatehouse.intake.receive import Desk, tell, verified_account
from gatehouse.intake.record import Delivery
from gatehouse.jobs.batch import each_message
from gatehouse.observability import log, metrics


def replay(event: Mapping[str, Any], desk: Desk) -> dict[str, Any]:
    """Record each waiting request; one that can never be read goes to the dead-letter queue at once."""

    def handle(record: SQSRecord) -> None:  # Powertools hands it over by this name
        log.add(event_id=None, event_type=None)  # those of the message before it
        try:
            waiting = opened_message(record.body, desk.keyring())
            _record(waiting, desk)
        except SignatureRefused as refusal:
            metrics.count("ForgeriesDropped", gateway=waiting.gateway)
            log.warning("a forged request of the inbox was dropped", account=waiting.account, reason=str(refusal))
        except UnknownKey:  # a data key that was added just now, or put back; the message comes back until it is here
            raise
        except (NotAnInboxMessage, SealBroken, RequestRefused) as error:
            log.error("inbox message cannot be read; given to its dead-letter queue", error=error)
            desk.inbox().give_up(record.body)

    try:
        return each_message(event, handle)
    except (ConnectionError, TimeoutError):
        _bring_back(event, desk)
        raise


def _record(waiting: Waiting, desk: Desk) -> None:
    gateway = gateway_named(waiting.gateway)
    account, signed_by = waiting.verified, waiting.signed_by
    if account is None:  # nobody could check the sender when it arrived; a signature's age is judged at that time
        directory = desk.accounts(waiting.gateway)
        # We have answered 200, so nobody sends it again: what we knew a while ago is not enough to call it forged.
        directory.renew()
        account, signed_by = verified_account(gateway, waiting.request, directory, waiting.request.received_at)
    event = gateway.translate(gateway.read_event(waiting.request.body), account.account)
    log.add(event_id=event.event_id, event_type=event.type)
    request = waiting.request
    delivery = Delivery(
        account, event, request.body, request.received_at, signed_by, request.request_id, request.content_type
    )
    recorded = recording.record(desk.database(), delivery, desk.keyring())
    metrics.count("EventsReplayed", gateway=waiting.gateway)
    tell(recorded, waiting.gateway)
    if recorded.jobs:
        desk.bell().ring(recorded.jobs)
    if recorded.changed:
        desk.bell().ring_for_backup()


def _bring_back(event: Mapping[str, Any], desk: Desk) -> None:
    """Shorten the wait of messages that met an outage: it may be over long before the queue's own time is."""
    for record in event["Records"]:
        try:
            desk.inbox().bring_back(record["receiptHandle"], int(record["attributes"]["ApproximateReceiveCount"]))
        except AwsError as error:
            log.warning("inbox messages come back when the queue's own time is over", reason=str(error))
            return
