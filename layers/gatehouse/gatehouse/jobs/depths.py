"""How full the queues are, for people who look: every queue that the settings name, and its dead-letter queue."""

from collections.abc import Mapping
from dataclasses import fields
from typing import NamedTuple

from gatehouse.aws import AwsClient
from gatehouse.jobs.bell import sqs_client
from gatehouse.settings import Settings, settings

TIMEOUT_SECONDS = 3.0
ATTRIBUTES = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class Depth(NamedTuple):
    """One queue: what waits, what is being worked on, what comes later, and what lies in its dead-letter queue."""

    queue: str
    waiting: int
    in_work: int
    delayed: int
    dead_letters: int | None  # None: the settings name no such queue


def queue_depths() -> list[Depth]:
    """Return the depths of all queues that the settings name; raise AwsError when SQS does not say."""
    sqs = sqs_client()
    try:
        return [
            Depth(name, *_counts(sqs, url), _counts(sqs, dead)[0] if dead else None)
            for name, (url, dead) in _queues(settings()).items()
        ]
    finally:
        sqs.close()


def _queues(found: Settings) -> Mapping[str, tuple[str, str]]:
    """Return (queue, dead-letter queue) by name."""
    suffix = "_queue_url"
    names = sorted(field.name.removesuffix(suffix) for field in fields(found) if field.name.endswith(suffix))
    urls = {name: (getattr(found, f"{name}{suffix}"), getattr(found, f"{name}_dlq_url", "")) for name in names}
    return {name: both for name, both in urls.items() if both[0]}


def _counts(sqs: AwsClient, url: str) -> tuple[int, int, int]:
    question = {"QueueUrl": url, "AttributeNames": list(ATTRIBUTES)}
    said = sqs.call("GetQueueAttributes", question, timeout_seconds=TIMEOUT_SECONDS)["Attributes"]
    waiting, in_work, delayed = (int(said.get(name, 0)) for name in ATTRIBUTES)
    return waiting, in_work, delayed
