"""Rings for jobs: the only one who speaks to SQS.

A message carries the id of a job and nothing else; the row in `jobs` is the truth. A lost bell is rung again by the
sweeper, a doubled one finds nothing to claim. So ringing has a budget, and its failure is told but breaks nothing.
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from gatehouse.aws import AwsClient, credentials
from gatehouse.errors import AwsError, SettingError
from gatehouse.jobs.topics import TOPICS
from gatehouse.observability import log, metrics
from gatehouse.settings import settings

MOST_IN_A_BATCH = 10  # SQS's own limit
RING_BUDGET_SECONDS = 0.150  # the webhook waits for this before it answers


class Burial(NamedTuple):
    """A job that was given up, and how many times that has happened to it."""

    id: int
    topic: str
    burials: int


class Bell:
    """Sends to the queues of one deployment."""

    def __init__(self, sqs: AwsClient, queues: Mapping[str, str], dead_letters: Mapping[str, str]) -> None:
        self._sqs = sqs
        self._queues = queues
        self._dead_letters = dead_letters

    def ring(self, jobs: Iterable[tuple[int, str]], *, budget_seconds: float = RING_BUDGET_SECONDS) -> int:
        """Ring for jobs (id, topic) as far as the budget goes; return how many bells were sent."""
        by_queue: dict[str, list[str]] = {}
        for job_id, topic in _of_known_topics(jobs):
            url = self._url(self._queues, topic)
            by_queue.setdefault(url, []).append(json.dumps({"job": job_id}))
        deadline = time.monotonic() + budget_seconds
        return sum(self._send_all(url, bodies, deadline) for url, bodies in by_queue.items())

    def tell_burials(self, burials: Sequence[Burial], *, budget_seconds: float) -> list[Burial]:
        """Send buried jobs to their dead-letter queues; return those that arrived."""
        told = []
        deadline = time.monotonic() + budget_seconds
        for burial in _of_known_topics(burials):
            body = json.dumps({"job": burial.id, "burial": burial.burials})
            if self._send_all(self._url(self._dead_letters, burial.topic), [body], deadline):
                told.append(burial)
        return told

    def send(self, queue_url: str, body: str, *, timeout_seconds: float) -> None:
        """Send one message, or raise AwsError: for what exists nowhere else yet."""
        self._sqs.call("SendMessage", {"QueueUrl": queue_url, "MessageBody": body}, timeout_seconds=timeout_seconds)

    def hide(self, queue_url: str, receipt_handle: str, seconds: int, *, timeout_seconds: float) -> None:
        """Let a received message come back after so many seconds, or raise AwsError."""
        request = {"QueueUrl": queue_url, "ReceiptHandle": receipt_handle, "VisibilityTimeout": seconds}
        self._sqs.call("ChangeMessageVisibility", request, timeout_seconds=timeout_seconds)

    def _send_all(self, url: str, bodies: list[str], deadline: float) -> int:
        sent = 0
        for start in range(0, len(bodies), MOST_IN_A_BATCH):
            batch = bodies[start : start + MOST_IN_A_BATCH]
            entries = [{"Id": str(place), "MessageBody": body} for place, body in enumerate(batch)]
            left = deadline - time.monotonic()
            try:
                if left <= 0:
                    raise AwsError("TIMEOUT", "the budget for ringing is used up", retry_helps=True)
                answer = self._sqs.call("SendMessageBatch", {"QueueUrl": url, "Entries": entries}, timeout_seconds=left)
            except AwsError as error:
                metrics.count("BellsNotRung", len(bodies) - start)
                log.warning("bells not rung; the sweeper will", bells=len(bodies) - start, reason=str(error))
                return sent
            failed = len(answer.get("Failed", ()))
            if failed:
                metrics.count("BellsNotRung", failed)
                log.warning("SQS refused some bells; the sweeper will ring", bells=failed)
            sent += len(batch) - failed
        return sent

    @staticmethod
    def _url(urls: Mapping[str, str], topic: str) -> str:
        queue = TOPICS[topic].queue
        if not urls.get(queue):
            raise SettingError(f"no queue address is set for {queue}, which rings for {topic}")
        return urls[queue]


def _of_known_topics[Told: tuple[Any, ...]](jobs: Iterable[Told]) -> list[Told]:
    """Return jobs (id, topic, …) of the topics that this version knows; others wait for the version that wrote them."""
    known: list[Told] = []
    unknown: list[str] = []
    for job in jobs:
        if job[1] in TOPICS:
            known.append(job)
        else:
            unknown.append(job[1])
    if unknown:
        metrics.count("BellsNotRung", len(unknown))
        log.error("jobs of topics that this version does not know are not rung for", topics=sorted(set(unknown)))
    return known


@cache
def bell() -> Bell:
    """Return the bell of this process."""
    found = settings()
    endpoint = found.aws_endpoint_url_sqs or found.aws_endpoint_url
    return Bell(
        AwsClient("sqs", region=found.aws_region, endpoint_url=endpoint, credentials=credentials),
        queues={
            "enrichment": found.enrichment_queue_url,
            "forwarding": found.forwarding_queue_url,
            "tenants": found.tenants_queue_url,
        },
        dead_letters={
            "enrichment": found.enrichment_dlq_url,
            "forwarding": found.forwarding_dlq_url,
            "tenants": found.tenants_dlq_url,
        },
    )
