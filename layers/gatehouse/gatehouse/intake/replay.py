"""Records what waited in the inbox while Postgres was away."""

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from gatehouse.errors import AwsError, ConnectionError, RequestRefused, SealBroken, TimeoutError
from gatehouse.gateways import gateway_named
from gatehouse.intake import record as recording
from gatehouse.intake.inbox import NotAnInboxMessage, opened_message
from gatehouse.intake.receive import Desk, tell
from gatehouse.intake.record import Delivery
from gatehouse.jobs.batch import each_message
from gatehouse.observability import log, metrics


def replay(event: Mapping[str, Any], desk: Desk) -> dict[str, Any]:
    """Record each waiting request; one that can never be read goes to the dead-letter queue at once."""

    def handle(record: SQSRecord) -> None:  # Powertools hands it over by this name
        message = record.body
        try:
            waiting = opened_message(message, desk.keyring())
            gateway = gateway_named(waiting.account.gateway)
            translated = gateway.translate(gateway.read_event(waiting.body), waiting.account.account)
        except (NotAnInboxMessage, SealBroken, RequestRefused) as error:
            log.error("inbox message cannot be read; given to its dead-letter queue", error=error)
            desk.inbox().give_up(message)
            return
        delivery = Delivery(waiting.account, translated, waiting.body, waiting.received_at)
        recorded = recording.record(desk.database(), delivery, desk.keyring())
        metrics.count("EventsReplayed", gateway=gateway.NAME)
        tell(recorded, gateway.NAME)
        if recorded.jobs:
            desk.bell().ring(recorded.jobs)

    try:
        return each_message(event, handle)
    except (ConnectionError, TimeoutError):
        _bring_back(event, desk)
        raise


def _bring_back(event: Mapping[str, Any], desk: Desk) -> None:
    """Shorten the wait of messages that met an outage: it may be over long before the queue's own time is."""
    for record in event["Records"]:
        try:
            desk.inbox().bring_back(record["receiptHandle"], int(record["attributes"]["ApproximateReceiveCount"]))
        except AwsError as error:
            log.warning("inbox messages come back when the queue's own time is over", reason=str(error))
            return
