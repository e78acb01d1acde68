"""The pollers keep the rules of Lambda's event source mapping, on real queues of moto, with fake functions."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pytest

from gatehouse.aws import AwsClient
from gatehouse.settings import AwsCredentials
from local.moto_server import MotoServer
from local.postgres import free_port
from local.queue_pollers import (
    BatchAnswerMalformed,
    BatchOutcome,
    Message,
    QueuePoller,
    done_messages,
    split_by_size,
    sqs_event,
)
from local.template import QueueMapping

pytestmark = pytest.mark.req("O2", "M6")


@dataclass
class Answer:
    """What a fake function answered."""

    payload: bytes = b"null"
    failed: bool = False


class FakeFunction:
    """Answers as it is told to, and keeps the bodies of every batch."""

    def __init__(self, respond: Callable[[list[dict[str, Any]]], Answer] = lambda _: Answer()) -> None:
        self.respond = respond
        self.batches: list[list[str]] = []
        self.records: list[dict[str, Any]] = []
        self.at_once = 0
        self.most_at_once = 0
        self._count = threading.Lock()

    def invoke(self, payload: bytes) -> Answer:
        """Keep the batch and answer."""
        records = json.loads(payload)["Records"]
        with self._count:
            self.batches.append([each["body"] for each in records])
            self.records += records
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return self.respond(records)
        finally:
            with self._count:
                self.at_once -= 1


class Throttled(Exception):
    """What a function at its limit raises."""


@dataclass
class Queue:
    """A queue of its own for each test, with a dead-letter queue after two receives."""

    client: AwsClient
    mapping: QueueMapping
    dead_letter_url: str

    def send(self, *bodies: str) -> None:
        """Put messages into the queue."""
        entries = [{"Id": str(i), "MessageBody": body} for i, body in enumerate(bodies)]
        self.call("SendMessageBatch", QueueUrl=self.mapping.queue_url, Entries=entries)

    def call(self, action: str, **parameters: Any) -> dict[str, Any]:
        """Call SQS."""
        return self.client.call(action, parameters, timeout_seconds=10)

    def count(self) -> tuple[int, int, int]:
        """Return how many messages are visible, with a consumer, and dead."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.call("GetQueueAttributes", QueueUrl=self.mapping.queue_url, AttributeNames=names)
        visible, hidden = (int(answer["Attributes"][name]) for name in names)
        dead = self.call("GetQueueAttributes", QueueUrl=self.dead_letter_url, AttributeNames=names[:1])
        return visible, hidden, int(dead["Attributes"][names[0]])


def connect(moto: MotoServer) -> AwsClient:
    """Return a new connection to the queues."""
    return AwsClient(
        "sqs",
        region="us-east-1",
        endpoint_url=moto.endpoint,
        credentials=lambda: AwsCredentials("test", "test", ""),
    )


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    """One moto server for all tests here."""
    server = MotoServer(free_port())
    server.launch()
    server.wait_until_ready()
    yield server
    server.stop()


def new_queue(moto: MotoServer, *, visibility_seconds: int) -> Queue:
    """Make a queue, and its dead-letter queue."""
    client = connect(moto)
    name = f"work-{uuid4().hex[:8]}"
    dead = client.call("CreateQueue", {"QueueName": f"{name}-dead"}, timeout_seconds=10)["QueueUrl"]
    redrive = {"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:123456789012:{name}-dead", "maxReceiveCount": 2}
    attributes = {"VisibilityTimeout": str(visibility_seconds), "RedrivePolicy": json.dumps(redrive)}
    url = client.call("CreateQueue", {"QueueName": name, "Attributes": attributes}, timeout_seconds=10)["QueueUrl"]
    return Queue(client, QueueMapping("Worker", url, name, 10, 0, reports_item_failures=True), dead)


@pytest.fixture
def queue(moto: MotoServer) -> Queue:
    """A fresh queue whose messages do not come back while a test lasts."""
    return new_queue(moto, visibility_seconds=60)


@pytest.fixture
def returning_queue(moto: MotoServer) -> Queue:
    """A fresh queue whose messages come back soon."""
    return new_queue(moto, visibility_seconds=1)


@contextmanager
def polling(
    moto: MotoServer, mapping: QueueMapping, function: FakeFunction, first_backoff_seconds: float = 0.05
) -> Iterator[list[BatchOutcome]]:
    """Poll for a while; gives the outcomes of the batches."""
    outcomes: list[BatchOutcome] = []
    poller = QueuePoller(
        mapping,
        function,
        lambda: connect(moto),
        on_batch=outcomes.append,
        first_backoff_seconds=first_backoff_seconds,
        long_poll_seconds=1,
    )
    poller.start()
    try:
        yield outcomes
    finally:
        poller.stop()


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until the condition holds; fail when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def failing(*bodies: str) -> Callable[[list[dict[str, Any]]], Answer]:
    """Return a response that reports the messages with these bodies as failed."""

    def respond(records: list[dict[str, Any]]) -> Answer:
        failures = [{"itemIdentifier": each["messageId"]} for each in records if each["body"] in bodies]
        return Answer(json.dumps({"batchItemFailures": failures}).encode())

    return respond


def test_what_is_done_is_deleted(moto: MotoServer, queue: Queue) -> None:
    function = FakeFunction()
    queue.send(*"abc")
    with polling(moto, queue.mapping, function) as outcomes:
        wait_until(lambda: len(outcomes) == 1)
    assert function.batches == [["a", "b", "c"]]
    assert queue.count() == (0, 0, 0)
    assert (outcomes[0].messages, outcomes[0].done, outcomes[0].failure) == (3, 3, None)


def test_a_batch_is_never_larger_than_the_mapping_says(moto: MotoServer, queue: Queue) -> None:
    function = FakeFunction()
    queue.send(*"abcdefg")
    with polling(moto, replace(queue.mapping, batch_size=3), function):
        wait_until(lambda: queue.count() == (0, 0, 0) and not function.at_once)
    assert sorted(map(len, function.batches)) == [1, 3, 3]


def test_a_window_gathers_more_than_one_receive_can_bring(moto: MotoServer, queue: Queue) -> None:
    function = FakeFunction()
    queue.send(*"0123456789")
    with polling(moto, replace(queue.mapping, batch_size=25, window_seconds=1), function):
        queue.send(*"abcdefghij")
        wait_until(lambda: queue.count() == (0, 0, 0))
    assert len(function.batches) == 1
    assert sorted(function.batches[0]) == sorted("0123456789abcdefghij")


def test_the_event_is_the_one_of_lambda(moto: MotoServer, queue: Queue) -> None:
    function = FakeFunction()
    queue.call(
        "SendMessage",
        QueueUrl=queue.mapping.queue_url,
        MessageBody="hello",
        MessageAttributes={
            "topic": {"DataType": "String", "StringValue": "fetch_fee"},
            "raw": {"DataType": "Binary", "BinaryValue": "AQI="},
        },
    )
    with polling(moto, queue.mapping, function):
        wait_until(lambda: queue.count() == (0, 0, 0) and bool(function.records))
    (record,) = function.records
    assert record.pop("messageId")
    assert record.pop("receiptHandle")
    assert record.pop("md5OfMessageAttributes")
    attributes = record.pop("attributes")
    assert attributes["ApproximateReceiveCount"] == "1"
    assert {"SentTimestamp", "SenderId", "ApproximateFirstReceiveTimestamp"} <= attributes.keys()
    empty: dict[str, list[str]] = {"stringListValues": [], "binaryListValues": []}
    assert record == {
        "body": "hello",
        "messageAttributes": {
            "topic": {"stringValue": "fetch_fee", "dataType": "String", **empty},
            "raw": {"binaryValue": "AQI=", "dataType": "Binary", **empty},
        },
        "md5OfBody": "5d41402abc4b2a76b9719d911017c592",
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:us-east-1:123456789012:{queue.mapping.queue_name}",
        "awsRegion": "us-east-1",
    }


def test_a_failed_message_alone_comes_back_and_ends_in_the_dead_letter_queue(
    moto: MotoServer, returning_queue: Queue
) -> None:
    function = FakeFunction(failing("bad"))
    returning_queue.send("good", "bad", "fine")
    with polling(moto, returning_queue.mapping, function) as outcomes:
        wait_until(lambda: len(outcomes) == 1)
        assert (outcomes[0].done, outcomes[0].failure) == (2, None)
        wait_until(lambda: returning_queue.count() == (0, 0, 1))
    assert function.batches == [["good", "bad", "fine"], ["bad"]]
    assert function.records[-1]["attributes"]["ApproximateReceiveCount"] == "2"


def test_partial_failures_do_not_slow_polling(moto: MotoServer, queue: Queue) -> None:
    function = FakeFunction(failing("bad"))
    with polling(moto, queue.mapping, function, first_backoff_seconds=60):
        queue.send("bad")
        wait_until(lambda: len(function.batches) == 1)
        queue.send("good")
        wait_until(lambda: ["good"] in function.batches)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b'{"errorType": "ValueError", "errorMessage": "no"}', failed=True),
        Answer(b'{"batchItemFailures": [{"itemIdentifier": ""}]}'),
    ],
    ids=["the function fails", "its answer is malformed"],
)
def test_a_failure_leaves_the_whole_batch_and_slows_polling(moto: MotoServer, queue: Queue, answer: Answer) -> None:
    function = FakeFunction(lambda _: answer)
    with polling(moto, queue.mapping, function, first_backoff_seconds=60) as outcomes:
        queue.send("a", "b")
        wait_until(lambda: len(outcomes) == 1)
        queue.send("c")  # goes to the receive that was under way
        wait_until(lambda: len(outcomes) == 2)
        queue.send("d")
        time.sleep(0.3)
        assert queue.count() == (1, 3, 0)  # d is not even asked for
    assert function.batches == [["a", "b"], ["c"]]
    assert all(each.done == 0 and each.failure for each in outcomes)


def test_polling_goes_on_after_the_pause(moto: MotoServer, returning_queue: Queue) -> None:
    answers = iter([Answer(b"{}", failed=True), Answer(b"{}", failed=True)])
    function = FakeFunction(lambda _: next(answers, Answer()))
    mapping = replace(returning_queue.mapping, batch_size=1)
    returning_queue.send("a", "b", "c", "d")
    with polling(moto, mapping, function):
        wait_until(lambda: returning_queue.count() == (0, 0, 0))
    assert sorted(body for batch in function.batches for body in batch) == ["a", "a", "b", "b", "c", "d"]


def test_a_throttled_invocation_returns_its_messages(moto: MotoServer, returning_queue: Queue) -> None:
    throttles = iter([True])

    def respond(_: list[dict[str, Any]]) -> Answer:
        if next(throttles, False):
            raise Throttled("at the limit")
        return Answer()

    function = FakeFunction(respond)
    returning_queue.send("a")
    with polling(moto, returning_queue.mapping, function) as outcomes:
        wait_until(lambda: len(outcomes) == 2)
    assert function.batches == [["a"], ["a"]]
    assert outcomes[0].failure == "Throttled: at the limit"
    assert returning_queue.count() == (0, 0, 0)


def test_maximum_concurrency_bounds_the_batches_at_once(moto: MotoServer, queue: Queue) -> None:
    may_go_on = threading.Event()

    def respond(_: list[dict[str, Any]]) -> Answer:
        may_go_on.wait(10)
        return Answer()

    function = FakeFunction(respond)
    queue.send(*"abcdef")
    with polling(moto, replace(queue.mapping, batch_size=1, maximum_concurrency=2), function):
        wait_until(lambda: function.at_once == 2)
        time.sleep(1.3)  # longer than the poller waits before it would allow itself more
        assert function.at_once == 2
        may_go_on.set()
        wait_until(lambda: queue.count() == (0, 0, 0))
    assert function.most_at_once == 2


def test_concurrency_grows_from_five_under_backlog(moto: MotoServer, queue: Queue) -> None:
    may_go_on = threading.Event()

    def respond(_: list[dict[str, Any]]) -> Answer:
        may_go_on.wait(10)
        return Answer()

    function = FakeFunction(respond)
    queue.send(*"abcdefgh")
    with polling(moto, replace(queue.mapping, batch_size=1), function):
        wait_until(lambda: function.at_once == 5)
        time.sleep(0.2)
        assert function.at_once == 5
        wait_until(lambda: function.at_once == 8)
        may_go_on.set()


def test_a_stopped_poller_waits_for_the_batch_in_work_and_takes_no_other(moto: MotoServer, queue: Queue) -> None:
    def respond(_: list[dict[str, Any]]) -> Answer:
        time.sleep(0.5)
        return Answer()

    function = FakeFunction(respond)
    queue.send("a")
    with polling(moto, queue.mapping, function) as outcomes:
        wait_until(lambda: function.at_once == 1)
    assert len(outcomes) == 1
    queue.send("b")
    time.sleep(0.3)
    assert function.batches == [["a"]]


@pytest.mark.parametrize(
    "payload",
    [b"", b"null", b"{}", b'{"batchItemFailures": []}', b'{"batchItemFailures": null}', b'{"statusCode": 200}'],
)
def test_an_answer_without_failures_means_that_all_is_done(payload: bytes) -> None:
    assert done_messages(batch_of("a", "b"), payload, reports=True) == batch_of("a", "b")


@pytest.mark.parametrize(
    "payload",
    [
        b"not json",
        b'"fine"',
        b'{"batchItemFailures": "a"}',
        b'{"batchItemFailures": ["a"]}',
        b'{"batchItemFailures": [{"itemIdentifier": null}]}',
        b'{"batchItemFailures": [{"itemIdentifier": ""}]}',
        b'{"batchItemFailures": [{"messageId": "a"}]}',
        b'{"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "stranger"}]}',
    ],
)
def test_a_malformed_answer_is_refused_where_items_are_reported(payload: bytes) -> None:
    with pytest.raises(BatchAnswerMalformed):
        done_messages(batch_of("a", "b"), payload, reports=True)
    assert done_messages(batch_of("a", "b"), payload, reports=False) == batch_of("a", "b")


def test_a_batch_over_six_megabytes_is_cut() -> None:
    messages = [{**message, "Body": "x" * 1024 * 1024} for message in batch_of(*"abcdefghij")]
    batches = list(split_by_size("work", messages))
    assert [len(each) for each in batches] == [5, 5]
    assert all(len(sqs_event("work", each)) <= 6 * 1024 * 1024 for each in batches)


def batch_of(*identifiers: str) -> Sequence[Message]:
    """Return received messages with these ids."""
    return [
        {"MessageId": each, "ReceiptHandle": each, "Body": each, "MD5OfBody": each, "Attributes": {}}
        for each in identifiers
    ]
