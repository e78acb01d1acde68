"""Feeds queues to functions by the rules of Lambda's event source mapping for SQS.

What the rules are, and where AWS says so: a batch is at most `batch_size` messages, gathered for at most the window
and 6 MB; at most `maximum_concurrency` batches are with the function at once, 5 at first. What the function did is
deleted; what it did not do stays in the queue, comes back when its visibility ends, and is moved to the dead-letter
queue by SQS. A function that fails is polled more slowly; one that reports single messages as failed is not.
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from gatehouse.errors import AwsError
from local.sam_expansion import ACCOUNT, REGION
from local.template import QueueMapping

FIRST_CONCURRENCY = 5
CONCURRENCY_STEP = 5  # more batches at once for each second in which all were busy: AWS adds 300 a minute
MOST_CONCURRENCY = 1250
MOST_MESSAGES_A_RECEIVE = 10
MOST_BATCH_BYTES = 6 * 1024 * 1024
LONG_POLL_SECONDS = 20
LONGEST_BACKOFF_SECONDS = 20.0

Message = dict[str, Any]


class Answer(Protocol):
    """What a poller wants to know about an invocation."""

    @property
    def payload(self) -> bytes:
        """Return what the function answered."""

    @property
    def failed(self) -> bool:
        """Tell whether the function raised, crashed or ran out of time."""


class Invocable(Protocol):
    """A function that can be invoked and waits for the answer; it may also raise, as when it is throttled."""

    def invoke(self, payload: bytes) -> Answer:
        """Run the function once with this event."""


class QueueClient(Protocol):
    """A connection to SQS; `gatehouse.aws.AwsClient` is one."""

    def call(self, action: str, parameters: Mapping[str, Any], *, timeout_seconds: float) -> dict[str, Any]:
        """Call one action of SQS."""


@dataclass(frozen=True)
class BatchOutcome:
    """What became of one batch."""

    mapping: QueueMapping
    messages: int
    done: int
    milliseconds: float
    failure: str | None = None  # one line; None also when the function reported single messages as failed


class BatchAnswerMalformed(ValueError):
    """The function's answer does not say which messages failed, so none counts as done."""


class QueuePoller:
    """One event source mapping at work: one thread receives, and each batch has a thread while the function has it."""

    def __init__(
        self,
        mapping: QueueMapping,
        function: Invocable,
        connect: Callable[[], QueueClient],
        *,
        on_batch: Callable[[BatchOutcome], None],
        first_backoff_seconds: float = 1.0,
        long_poll_seconds: int = LONG_POLL_SECONDS,
    ) -> None:
        self._mapping = mapping
        self._function = function
        self._receiving = connect()
        self._deleting = connect()  # a connection takes one call at a time, and the other one waits for messages
        self._on_batch = on_batch
        self._first_backoff_seconds = first_backoff_seconds
        self._long_poll_seconds = long_poll_seconds

        self._most = min(mapping.maximum_concurrency or MOST_CONCURRENCY, MOST_CONCURRENCY)
        self._allowed = min(FIRST_CONCURRENCY, self._most)
        self._busy = 0
        self._failures_in_a_row = 0
        self._change = threading.Condition()
        self._stopped = threading.Event()
        self._batches = ThreadPoolExecutor(self._most, thread_name_prefix=f"batch-{mapping.queue_name}")
        self._receiver = threading.Thread(target=self._receive, name=f"poll-{mapping.queue_name}", daemon=True)

    def start(self) -> None:
        """Begin to poll the queue."""
        self._receiver.start()

    def stop(self, *, patience_seconds: float = 10) -> None:
        """Take no more messages, and wait for the batches that a function has; return when they are done or it is late.

        A long poll that is under way is left alone: what it still brings stays in the queue.
        """
        with self._change:
            self._stopped.set()
            self._change.notify_all()
            self._change.wait_for(lambda: self._busy == 0, timeout=patience_seconds)
            self._batches.shutdown(wait=False, cancel_futures=True)

    @property
    def busy(self) -> int:
        """Return how many batches are with the function now."""
        return self._busy

    def _receive(self) -> None:
        while not self._stopped.is_set():
            try:
                self._pause_after_failures()
                self._wait_for_free_place()
                for batch in split_by_size(self._mapping.queue_name, self._gather()):
                    self._wait_for_free_place()
                    self._hand_over(batch)
            except AwsError as reason:
                if not self._stopped.is_set():
                    self._on_batch(BatchOutcome(self._mapping, 0, 0, 0, f"the queue does not answer: {reason}"))
                    self._stopped.wait(self._first_backoff_seconds)

    def _pause_after_failures(self) -> None:
        """Wait the longer, the more often in a row the function has failed."""
        if self._failures_in_a_row:
            doublings = min(self._failures_in_a_row - 1, 10)
            self._stopped.wait(min(self._first_backoff_seconds * 2**doublings, LONGEST_BACKOFF_SECONDS))

    def _wait_for_free_place(self) -> None:
        """Wait while as many batches are out as are allowed now, and allow more of them while there is a backlog."""
        with self._change:
            while self._busy >= self._allowed and not self._stopped.is_set():
                if not self._change.wait(timeout=1):
                    self._allowed = min(self._allowed + CONCURRENCY_STEP, self._most)

    def _gather(self) -> list[Message]:
        """Receive one batch: as soon as a message is there, or within the window as many as the batch takes."""
        messages = self._receive_some(self._mapping.batch_size, self._long_poll_seconds)
        window_ends = time.monotonic() + self._mapping.window_seconds
        while messages and len(messages) < self._mapping.batch_size and not self._stopped.is_set():
            if (left := window_ends - time.monotonic()) <= 0:
                break
            messages += self._receive_some(self._mapping.batch_size - len(messages), int(left))
            # A short poll returns at once with nothing; a pause keeps the last second of the window from being a spin.
            if left < 1:
                self._stopped.wait(min(left, 0.1))
        return messages

    def _receive_some(self, count: int, wait_seconds: int) -> list[Message]:
        answer = self._receiving.call(
            "ReceiveMessage",
            {
                "QueueUrl": self._mapping.queue_url,
                "MaxNumberOfMessages": min(count, MOST_MESSAGES_A_RECEIVE),
                "WaitTimeSeconds": wait_seconds,
                "MessageSystemAttributeNames": ["All"],
                "MessageAttributeNames": ["All"],
            },
            timeout_seconds=wait_seconds + 10,
        )
        return list(answer.get("Messages", []))

    def _hand_over(self, batch: Sequence[Message]) -> None:
        with self._change:
            if not self._stopped.is_set():
                self._busy += 1
                self._batches.submit(self._work_on, batch)

    def _work_on(self, batch: Sequence[Message]) -> None:
        outcome = self._invoke(batch)
        self._on_batch(outcome)
        with self._change:
            self._busy -= 1
            self._failures_in_a_row = 0 if outcome.failure is None else self._failures_in_a_row + 1
            self._change.notify_all()

    def _invoke(self, batch: Sequence[Message]) -> BatchOutcome:
        started = time.monotonic()
        done: list[Message] = []
        failure = None
        try:
            answer = self._function.invoke(sqs_event(self._mapping.queue_name, batch))
            if answer.failed:
                failure = "the function failed"
            else:
                done = done_messages(batch, answer.payload, reports=self._mapping.reports_item_failures)
                self._delete(done)
        except Exception as reason:  # noqa: BLE001 - throttled, malformed, no SQS: whatever it is, the messages stay
            failure = f"{type(reason).__name__}: {reason}"
        return BatchOutcome(self._mapping, len(batch), len(done), (time.monotonic() - started) * 1000, failure)

    def _delete(self, messages: Sequence[Message]) -> None:
        for first in range(0, len(messages), MOST_MESSAGES_A_RECEIVE):
            some = messages[first : first + MOST_MESSAGES_A_RECEIVE]
            entries = [{"Id": str(i), "ReceiptHandle": each["ReceiptHandle"]} for i, each in enumerate(some)]
            parameters = {"QueueUrl": self._mapping.queue_url, "Entries": entries}
            self._deleting.call("DeleteMessageBatch", parameters, timeout_seconds=10)


def done_messages(batch: Sequence[Message], payload: bytes, *, reports: bool) -> list[Message]:
    """Return the messages that the function's answer counts as done; raise BatchAnswerMalformed when it says nonsense.

    Without ReportBatchItemFailures the answer does not matter. With it, nothing, null and an empty list mean that all
    is done, and an item without an identifier or with an unknown one that nothing is.
    """
    if not reports:
        return list(batch)
    failed = set(_failed_identifiers(payload))
    if unknown := failed - {each["MessageId"] for each in batch}:
        raise BatchAnswerMalformed(f"batchItemFailures names {sorted(unknown)[0]!r}, which is not in the batch")
    return [each for each in batch if each["MessageId"] not in failed]


def _failed_identifiers(payload: bytes) -> Iterator[str]:
    try:
        answer = json.loads(payload or b"null")
    except ValueError:
        raise BatchAnswerMalformed("the answer is not JSON") from None
    if answer is None:
        return
    if not isinstance(answer, dict):
        raise BatchAnswerMalformed("the answer is not a JSON object")
    items = answer.get("batchItemFailures")
    if not isinstance(items or [], list):
        raise BatchAnswerMalformed("batchItemFailures is not a list")
    for item in items or []:
        identifier = item.get("itemIdentifier") if isinstance(item, dict) else None
        if not isinstance(identifier, str) or not identifier:
            raise BatchAnswerMalformed("an item of batchItemFailures has no itemIdentifier")
        yield identifier


def split_by_size(
    queue_name: str, messages: Iterable[Message], most_bytes: int = MOST_BATCH_BYTES
) -> Iterator[list[Message]]:
    """Cut a batch where its event would grow over what Lambda takes."""
    batch: list[Message] = []
    size = 0
    for message in messages:
        message_size = len(sqs_event(queue_name, [message]))
        if batch and size + message_size > most_bytes:
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += message_size
    if batch:
        yield batch


def sqs_event(queue_name: str, batch: Sequence[Message]) -> bytes:
    """Return Lambda's event for a batch of received messages."""
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue_name}"
    return json.dumps({"Records": [_record(arn, message) for message in batch]}).encode()


def _record(arn: str, message: Message) -> dict[str, Any]:
    record = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": REGION,
    }
    if "MD5OfMessageAttributes" in message:
        record["md5OfMessageAttributes"] = message["MD5OfMessageAttributes"]
    return record


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message attribute with Lambda's names; binary values are base64 text in both."""
    names = {"StringValue": "stringValue", "BinaryValue": "binaryValue", "DataType": "dataType"}
    attribute: dict[str, Any] = {"stringListValues": [], "binaryListValues": []}
    return attribute | {names[name]: content for name, content in value.items() if name in names}
