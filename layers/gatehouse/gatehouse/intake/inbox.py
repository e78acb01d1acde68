"""The inbox: where verified requests wait, sealed, while Postgres is away.

What is put here was answered with 200 and exists nowhere else, so a message is only ever let go of when its event
stands in Postgres, or when it can never be read and lies in the inbox's dead-letter queue.
"""

import base64
import json
from datetime import datetime
from functools import cache
from typing import NamedTuple

from gatehouse.accounts import GatewayAccount
from gatehouse.errors import AwsError, GatehouseError, ServiceUnavailable
from gatehouse.jobs.bell import Bell, bell
from gatehouse.sealing import Keyring
from gatehouse.settings import settings

MOST_MESSAGE_BYTES = 1024 * 1024  # SQS's own limit since 2025
SEND_SECONDS = 2.0
FIRST_WAIT_SECONDS = 5
LONGEST_WAIT_SECONDS = 120  # the queue's own visibility: 1,000 receives then are more than a day of outage


class NotAnInboxMessage(GatehouseError):
    """The message cannot be read as a sealed request."""

    code = "NOT_AN_INBOX_MESSAGE"


class Waiting(NamedTuple):
    """A request that waited in the inbox."""

    account: GatewayAccount
    received_at: datetime
    body: bytes


class Inbox:
    """One deployment's inbox queue and its dead-letter queue."""

    def __init__(self, bell: Bell, queue_url: str, dead_letter_url: str) -> None:
        self._bell = bell
        self._queue_url = queue_url
        self._dead_letter_url = dead_letter_url

    def put(self, account: GatewayAccount, received_at: datetime, body: bytes, keyring: Keyring) -> None:
        """Seal a verified request and send it to the queue, or raise ServiceUnavailable."""
        message = sealed_message(account, received_at, body, keyring)
        if len(message) > MOST_MESSAGE_BYTES:
            raise ServiceUnavailable("the database is away and the request is too large for the inbox queue")
        try:
            self._bell.send(self._queue_url, message, timeout_seconds=SEND_SECONDS)
        except AwsError as error:
            raise ServiceUnavailable("neither the database nor the inbox queue can take the request") from error

    def bring_back(self, receipt_handle: str, receives: int) -> None:
        """Let a message that could not be recorded come back soon, and later each time it was tried in vain."""
        wait = min(FIRST_WAIT_SECONDS << min(receives - 1, 10), LONGEST_WAIT_SECONDS)
        self._bell.hide(self._queue_url, receipt_handle, wait, timeout_seconds=SEND_SECONDS)

    def give_up(self, message: str) -> None:
        """Put a message that can never be read into the dead-letter queue, where a person looks; raise AwsError."""
        self._bell.send(self._dead_letter_url, message, timeout_seconds=SEND_SECONDS)


@cache
def inbox() -> Inbox:
    """Return the inbox of this process."""
    return Inbox(bell(), settings().inbox_queue_url, settings().inbox_dlq_url)


def sealed_message(account: GatewayAccount, received_at: datetime, body: bytes, keyring: Keyring) -> str:
    """Return the message that holds a request, readable only with the data keys."""
    arrived = received_at.isoformat()
    key_id, sealed = keyring.seal(body, _belongs_to(account, arrived))
    return json.dumps(
        {
            "gateway": account.gateway,
            "account": account.account,
            "merchant": account.merchant,
            "mode": account.mode,
            "received_at": arrived,
            "key_id": key_id,
            "sealed": base64.b64encode(sealed).decode(),
        }
    )


def opened_message(message: str, keyring: Keyring) -> Waiting:
    """Return the request that a message holds; raise NotAnInboxMessage, SealBroken or UnknownKey."""
    try:
        said = json.loads(message)
        account = GatewayAccount(said["gateway"], said["account"], said["merchant"], said["mode"], ())
        received_at = datetime.fromisoformat(said["received_at"])
        key_id, sealed = str(said["key_id"]), base64.b64decode(said["sealed"], validate=True)
        belongs_to = _belongs_to(account, said["received_at"])
        body = keyring.open(key_id, sealed, belongs_to)
    except (ValueError, TypeError, KeyError, AttributeError) as reason:
        raise NotAnInboxMessage(f"the message is no sealed request: {type(reason).__name__}") from reason
    return Waiting(account, received_at, body)


def _belongs_to(account: GatewayAccount, received_at: str) -> tuple[str, ...]:
    return ("inbox", account.gateway, account.account, account.merchant, account.mode, received_at)
