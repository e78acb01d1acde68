"""Works through one batch of SQS messages, each of which rings for one job.

A bad message is reported alone, and comes back alone. The database away is another matter: with partial failures
Lambda does not slow its polling down, and each message would burn its receives at full speed. So then the whole
invocation fails, and Lambda backs off.
"""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from gatehouse.database.connection import Database
from gatehouse.errors import ConnectionError, GatehouseError, TimeoutError
from gatehouse.jobs.bell import Bell
from gatehouse.jobs.claim import Worker, work_on
from gatehouse.observability import log, metrics

# A message that is not begun this close to the function's time-out goes back to the queue.
LEAST_MILLISECONDS_LEFT = 15_000


class LambdaContext(Protocol):
    """What we use of Lambda's context object."""

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda ends this invocation."""
        ...


class BadMessage(GatehouseError):
    """The message does not name a job."""

    code = "BAD_MESSAGE"


class OutOfTime(GatehouseError):
    """The function's time is nearly up."""

    code = "OUT_OF_TIME"
    retry_helps = True


def work_through(
    event: Mapping[str, Any],
    context: LambdaContext,
    workers: Mapping[str, Worker],
    database: Database,
    bell: Bell,
    *,
    least_milliseconds_left: int = LEAST_MILLISECONDS_LEFT,
    threads: int = 1,
    may_be_done_twice: bool = False,
) -> dict[str, Any]:
    """Work on the job of each message and return the partial batch answer that SQS expects.

    With several threads the jobs of a batch are worked on at once, so that one that has to wait holds up no other.
    """

    def handle(record: SQSRecord) -> str:
        if context.get_remaining_time_in_millis() < least_milliseconds_left:
            raise OutOfTime
        job_id, burial = _job_named_in(record.body)
        return work_on(job_id, workers, database, bell, burial=burial, may_be_done_twice=may_be_done_twice)

    if threads == 1:
        return each_message(event, handle)
    with ThreadPoolExecutor(threads) as pool:
        begun = {each["messageId"]: pool.submit(handle, SQSRecord(each)) for each in event["Records"]}
        return each_message(event, lambda record: begun[record.message_id].result())


def each_message(event: Mapping[str, Any], handle: Any) -> dict[str, Any]:
    """Hand each message to `handle`; report those that fail, or raise when the database is what failed."""
    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    with processor(list(event["Records"]), handle):
        processor.process()
    for _kind, error, _trace in processor.exceptions:
        if isinstance(error, ConnectionError | TimeoutError):
            raise error
        metrics.count("MessagesFailed")
        log.warning("message failed and comes back", error_type=type(error).__name__, reason=str(error))
    answer: dict[str, Any] = dict(processor.response())
    return answer


def _job_named_in(body: str) -> tuple[int, int | None]:
    try:
        message = json.loads(body)
        job_id, burial = message["job"], message.get("burial")
    except (ValueError, TypeError, KeyError, AttributeError) as reason:
        raise BadMessage(f"not a job message: {body[:80]!r}") from reason
    if type(job_id) is not int or not (burial is None or type(burial) is int):
        raise BadMessage(f"not a job message: {body[:80]!r}")
    return job_id, burial
