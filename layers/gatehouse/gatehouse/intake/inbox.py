"""The inbox: where requests wait, sealed, while Postgres is away.

What is put here was answered with 200 and exists nowhere else, so a message is only ever let go of when its event
stands in Postgres, when it turns out to be forged, or when it can never be read and lies in the inbox's dead letters.
"""

import base64
import json
from datetime import datetime
from functools import cache
from typing import NamedTuple

from gatehouse.accounts import GatewayAccount
from gatehouse.errors import AwsError, GatehouseError, ServiceUnavailable
from gatehouse.http_request import HttpRequest
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

    gateway: str
    account: str
    verified: GatewayAccount | None  # the account as it was when the sender was checked; None: not checked yet
    signed_by: str | None
    request: HttpRequest


class Inbox:
    """One deployment's inbox queue and its dead-letter queue."""

    def __init__(self, bell: Bell, queue_url: str, dead_letter_url: str) -> None:
        self._bell = bell
        self._queue_url = queue_url
        self._dead_letter_url = dead_letter_url

    def put(self, waiting: Waiting, keyring: Keyring) -> None:
        """Seal a request and send it to the queue, or raise ServiceUnavailable."""
        message = sealed_message(waiting, keyring)
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


def sealed_message(waiting: Waiting, keyring: Keyring) -> str:
    """Return the message that holds a request, readable only with the data keys."""
    request = waiting.request
    head = {
        "received_at": request.received_at.isoformat(),
        "request_id": request.request_id,
        "verified": _known(waiting.verified),
        "signed_by": waiting.signed_by,
        # What proves the sender is kept only as long as nobody has checked it.
        "headers": {"content-type": request.content_type} if waiting.verified else request.headers,
        "path_parameters": {} if waiting.verified else request.path_parameters,
        "query": {} if waiting.verified else request.query,
    }
    frame = json.dumps(head).encode() + b"\n" + request.body
    key_id, sealed = keyring.seal(frame, ("inbox", waiting.gateway, waiting.account))
    return json.dumps(
        {
            "gateway": waiting.gateway,
            "account": waiting.account,
            "key_id": key_id,
            "sealed": base64.b64encode(sealed).decode(),
        }
    )


def opened_message(message: str, keyring: Keyring) -> Waiting:
    """Return the request that a message holds; raise NotAnInboxMessage, SealBroken or UnknownKey."""
    try:
        said = json.loads(message)
        gateway, account, key_id = str(said["gateway"]), str(said["account"]), str(said["key_id"])
        sealed = base64.b64decode(said["sealed"], validate=True)
        frame = keyring.open(key_id, sealed, ("inbox", gateway, account))
        head_line, _newline, body = frame.partition(b"\n")
        head = json.loads(head_line)
        request = HttpRequest(
            "POST",
            "",
            "",
            head["headers"],
            body,
            "",
            head["request_id"],
            datetime.fromisoformat(head["received_at"]),
            head["path_parameters"],
            head["query"],
        )
        verified = GatewayAccount(gateway, account, **head["verified"]) if head["verified"] else None
        return Waiting(gateway, account, verified, head["signed_by"], request)
    except (ValueError, TypeError, KeyError, AttributeError) as reason:
        raise NotAnInboxMessage(f"the message is no sealed request: {type(reason).__name__}") from reason


def _known(account: GatewayAccount | None) -> dict[str, object] | None:
    """Return what recording needs of a checked account; its secrets have done their work."""
    if account is None:
        return None
    return {"merchant": account.merchant, "mode": account.mode, "is_active": account.is_active}
