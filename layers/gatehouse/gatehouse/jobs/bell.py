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
BACKUP_QUEUE = "backup"
BACKUP_DELAY_SECONDS = 1
COMPARE_BODY = '{"do": "compare"}'
BACKUP_BUDGET_SECONDS = 0.100
RING_BUDGET_SECONDS = 0.150  # the webhook waits for this before it answers
NO_DELAYS: Mapping[int, int] = {}

Entry = dict[str, Any]  # what SendMessageBatch is told of one message, but for its place


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
        self._backup_rung_at = float("-inf")

    def ring(
        self,
        jobs: Iterable[tuple[int, str]],
        *,
        budget_seconds: float = RING_BUDGET_SECONDS,
        delays: Mapping[int, int] = NO_DELAYS,
    ) -> int:
        """Ring for jobs (id, topic) as far as the budget goes; return how many bells were sent.

        The bell of a job in `delays` is heard so many seconds later.
        """
        by_queue: dict[str, list[Entry]] = {}
        for job_id, topic in _of_known_topics(jobs):
            url = self._url(self._queues, topic)
            delay = {"DelaySeconds": delays[job_id]} if delays.get(job_id) else {}
            by_queue.setdefault(url, []).append({"MessageBody": json.dumps({"job": job_id}), **delay})
        deadline = time.monotonic() + budget_seconds
        return sum(self._send_all(url, entries, deadline) for url, entries in by_queue.items())

    def tell_burials(self, burials: Sequence[Burial], *, budget_seconds: float) -> list[Burial]:
        """Send buried jobs to their dead-letter queues; return those that arrived."""
        told = []
        deadline = time.monotonic() + budget_seconds
        for burial in _of_known_topics(burials):
            body = json.dumps({"job": burial.id, "burial": burial.burials})
            if self._send_all(self._url(self._dead_letters, burial.topic), [{"MessageBody": body}], deadline):
                told.append(burial)
        return told

    def ring_for_backup(self, *, again: bool = False) -> bool:
        """Ring once for all payments that change within the next second; True when a bell was sent.

        What is to be written is in the database and the bell names nothing, so one that comes a second later covers all
        that was committed until then: this process need not ring again before. By the wall clock, as a frozen Lambda
        stops the other one.
        """
        url = self._queues.get(BACKUP_QUEUE, "")
        now = time.time()
        if not url or (not again and 0 <= now - self._backup_rung_at < BACKUP_DELAY_SECONDS):
            return False
        request = {"QueueUrl": url, "MessageBody": '{"backup": true}', "DelaySeconds": BACKUP_DELAY_SECONDS}
        try:
            self._sqs.call("SendMessage", request, timeout_seconds=BACKUP_BUDGET_SECONDS)
        except AwsError as error:
            metrics.count("BellsNotRung")
            log.warning("bell for the backup not rung; the next minute brings it over", reason=str(error))
            return False
        self._backup_rung_at = now
        return True

    def ask_for_comparison(self) -> None:
        """Ask backup_writer to compare both databases and repair what differs, now; raise AwsError, or SettingError."""
        url = self._queues.get(BACKUP_QUEUE, "")
        if not url:
            raise SettingError("BACKUP_QUEUE_URL is not set: nobody can be asked")
        self.send(url, COMPARE_BODY, timeout_seconds=2)

    def send(self, queue_url: str, body: str, *, timeout_seconds: float) -> None:
        """Send one message, or raise AwsError: for what exists nowhere else yet."""
        self._sqs.call("SendMessage", {"QueueUrl": queue_url, "MessageBody": body}, timeout_seconds=timeout_seconds)

    def hide(self, queue_url: str, receipt_handle: str, seconds: int, *, timeout_seconds: float) -> None:
        """Let a received message come back after so many seconds, or raise AwsError."""
        request = {"QueueUrl": queue_url, "ReceiptHandle": receipt_handle, "VisibilityTimeout": seconds}
        self._sqs.call("ChangeMessageVisibility", request, timeout_seconds=timeout_seconds)

    def _send_all(self, url: str, messages: list[Entry], deadline: float) -> int:
        sent = 0
        for start in range(0, len(messages), MOST_IN_A_BATCH):
            batch = messages[start : start + MOST_IN_A_BATCH]
            entries = [{"Id": str(place), **message} for place, message in enumerate(batch)]
            left = deadline - time.monotonic()
            try:
                if left <= 0:
                    raise AwsError("TIMEOUT", "the budget for ringing is used up", retry_helps=True)
                answer = self._sqs.call("SendMessageBatch", {"QueueUrl": url, "Entries": entries}, timeout_seconds=left)
            except AwsError as error:
                metrics.count("BellsNotRung", len(messages) - start)
                log.warning("bells not rung; the sweeper will", bells=len(messages) - start, reason=str(error))
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


def sqs_client() -> AwsClient:
    """Return a connection to SQS, or to what stands for it."""
    found = settings()
    endpoint = found.aws_endpoint_url_sqs or found.aws_endpoint_url
    return AwsClient("sqs", region=found.aws_region, endpoint_url=endpoint, credentials=credentials)


@cache
def bell() -> Bell:
    """Return the bell of this process."""
    found = settings()
    return Bell(
        sqs_client(),
        queues={
            "enrichment": found.enrichment_queue_url,
            "forwarding": found.forwarding_queue_url,
            "reconciliation": found.reconciliation_queue_url,
            BACKUP_QUEUE: found.backup_queue_url,
            "tenants": found.tenants_queue_url,
        },
        dead_letters={
            "enrichment": found.enrichment_dlq_url,
            "forwarding": found.forwarding_dlq_url,
            "reconciliation": found.reconciliation_dlq_url,
            "tenants": found.tenants_dlq_url,
        },
    )
