"""Jobs: how many a worker claims and finishes in a second, and how long the sweeper takes for ten thousand due ones."""

from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from time import perf_counter

from bench.answering_server import answering_server
from bench.figures import Figure, alternating
from bench.ground import Ground, SilentSqs, ground
from gatehouse.aws import AwsClient
from gatehouse.database.connection import Database
from gatehouse.jobs.bell import Bell
from gatehouse.jobs.claim import Done, Job, sql, work_on
from gatehouse.jobs.sweep import sweep
from tests.support.queues import CREDENTIALS

JOBS_A_ROUND = 300
ROUNDS = 9
DUE = 10_000
SWEEPS = 3
URLS = {"enrichment": "http://queue"}


def run() -> list[Figure]:
    """Measure claim and finish beside pgbench with the same two statements; then sweep."""
    with ground() as place:
        return measured(place)


def measured(place: Ground, *, jobs_a_round: int = JOBS_A_ROUND, rounds: int = ROUNDS, due: int = DUE) -> list[Figure]:
    """Measure so many jobs in each round, and sweeps of so many that are due."""
    with ExitStack() as started:
        nowhere = started.enter_context(Path("/dev/null").open("w"))
        sqs_url = started.enter_context(answering_server(b"{}"))
        worker = place.database.connect("worker")
        started.callback(worker.close)
        bell = Bell(SilentSqs(), queues=URLS, dead_letters=URLS)

        script = pgbench_script()

        def done_at_once(_job: Job) -> Done:
            return Done()

        def candidate() -> float:
            jobs = write_jobs(worker, jobs_a_round)
            with redirect_stdout(nowhere):
                begun = perf_counter()
                for job in jobs:
                    if work_on(job, {"fetch_fee": done_at_once}, worker, bell) != "done":
                        raise RuntimeError(f"job {job} was not done")
            return (perf_counter() - begun) * 1000 / len(jobs)

        def floor() -> float:
            before_first = write_jobs(worker, jobs_a_round)[0] - 1
            return place.pgbench(script, transactions=jobs_a_round, role="gatehouse_worker", last=str(before_first))

        taken = alternating(floor, candidate, rounds=rounds)
        sqs = AwsClient("sqs", region="us-east-1", endpoint_url=sqs_url, credentials=lambda: CREDENTIALS)
        started.callback(sqs.close)
        ringing = Bell(sqs, queues=dict.fromkeys(URLS, sqs_url), dead_letters={})
        place.database.sql(
            "update jobs set status = 'done', lease_token = null, lease_until = null, finished_at = now()"
        )
        write_jobs(worker, due)
        place.database.sql("vacuum analyze jobs")
        times = []
        for _ in range(SWEEPS):
            place.database.sql("update jobs set ring_after = now() where status = 'waiting'")
            begun = perf_counter()
            with redirect_stdout(nowhere):
                swept = sweep(worker, ringing, seconds=600)
            times.append(perf_counter() - begun)
            if swept["rung"] != due:
                raise RuntimeError(f"the sweeper rang for {swept['rung']} of {due} jobs")
    return [
        Figure("a job claimed and finished (floor: pgbench, two calls)", taken.value, "ms", taken.floor),
        Figure("jobs claimed and finished, one worker", 1000 / taken.value, "/s"),
        Figure(f"a sweep of {due} due jobs, SQS answering at once", sorted(times)[SWEEPS // 2], "s"),
    ]


def write_jobs(database: Database, number: int) -> list[int]:
    """Write due jobs and return their ids, which follow one another."""
    rows = database.query(
        "insert into jobs (topic, business_key, merchant) select 'fetch_fee', gen_random_uuid(), 'default' "
        "from generate_series(1, :number::integer) returning id",
        number=number,
    )
    return [row["id"] for row in rows]


def pgbench_script() -> str:
    """Return a script that claims and finishes the job after the last one, whose id is in `last`."""
    values = {
        "id": ":last",
        "burial": "null",
        "lease_seconds": "90",
        "token": "(select lease_token from jobs where id = :last)",
    }
    lines = [r"\set last :last + 1"]
    for statement in (sql.claim, sql.finish):
        text = statement.text
        for place, name in reversed(list(enumerate(statement.parameters, start=1))):
            text = text.replace(f"${place}", values[name])
        lines.append(f"{text};")
    return "\n".join(lines) + "\n"
