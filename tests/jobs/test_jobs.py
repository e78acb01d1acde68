"""The job row is the truth, the queue message only rings: whatever happens to either, the work is done once."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from gatehouse.database.connection import Database
from gatehouse.database.sql import Bound, unnamed
from gatehouse.errors import ConnectionError, GatewayError
from gatehouse.jobs.batch import work_through
from gatehouse.jobs.bell import NO_DELAYS, Bell, Burial
from gatehouse.jobs.claim import Done, Hopeless, Job, Outcome, Postponed, Worker, keep_lease, sql, work_on
from gatehouse.jobs.sweep import sweep
from gatehouse.jobs.topics import TOPICS
from gatehouse.observability import metrics
from tests.conftest import DatabaseOpener
from tests.jobs.conftest import write_jobs
from tests.support.database import database_at
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.queues import Queues, sqs_event, unreachable_sqs

pytestmark = pytest.mark.req("M6", "G10")


def effect_of(job: Job) -> Bound:
    return unnamed("insert into effects (job_id) values (:job::bigint)")(job=job.id)


def do_it(job: Job) -> Outcome:
    return Done([effect_of(job)])


WORKERS: dict[str, Worker] = {"fetch_fee": do_it}


class Context:
    """Lambda's context, with a set time left."""

    def __init__(self, milliseconds: int = 60_000) -> None:
        self.milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


def effects_of(database: GatehouseDatabase) -> Counter[int]:
    return Counter(row[0] for row in database.sql("select job_id from effects"))


def statuses(database: GatehouseDatabase) -> Counter[str]:
    return Counter(row[0] for row in database.sql("select status from jobs"))


def make_due(database: GatehouseDatabase) -> None:
    database.sql("update jobs set due_at = now() - interval '1 s', ring_after = now() - interval '1 s'")


def test_a_job_is_done_once_however_often_its_bell_rings(
    effects: GatehouseDatabase, worker: Database, queues: Queues
) -> None:
    (job,) = write_jobs(effects, 1)
    rung = json.dumps({"job": job})
    answer = work_through(sqs_event(rung, rung, rung), Context(), WORKERS, worker, queues.bell())
    assert answer == {"batchItemFailures": []}
    assert effects_of(effects) == {job: 1}
    assert statuses(effects) == {"done": 1}


def test_a_lost_bell_is_rung_again_by_the_sweeper_but_not_before_its_time(
    effects: GatehouseDatabase, worker: Database, queues: Queues
) -> None:
    (job,) = write_jobs(effects, 1)
    assert sweep(worker, queues.bell(), seconds=5)["rung"] == 0  # whoever wrote it is ringing just now
    make_due(effects)
    assert sweep(worker, queues.bell(unreachable_sqs()), seconds=5)["rung"] == 0  # this bell is lost as well
    make_due(effects)
    assert sweep(worker, queues.bell(), seconds=5)["rung"] == 1
    assert sweep(worker, queues.bell(), seconds=5)["rung"] == 0  # once a minute, not once a sweep
    assert queues.take_json("enrichment") == [{"job": job}]


def test_two_workers_of_one_job_do_it_once(
    effects: GatehouseDatabase, gatehouse_database: GatehouseDatabase, queues: Queues
) -> None:
    jobs = write_jobs(effects, 40)
    verdicts: list[str] = []

    def work() -> None:
        mine = gatehouse_database.connect("worker")
        verdicts.extend(work_on(job, WORKERS, mine, queues.bell()) for job in jobs)
        mine.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(verdicts) == {"done": 40, "nothing to do": 120}
    assert effects_of(effects) == dict.fromkeys(jobs, 1)


def test_a_worker_whose_lease_ran_out_leaves_no_effect(
    effects: GatehouseDatabase, worker: Database, queues: Queues
) -> None:
    (job_id,) = write_jobs(effects, 1)

    def slow(job: Job) -> Outcome:
        effects.sql("update jobs set lease_until = now() - interval '1 s'")
        other = database_at(effects.url("worker"))
        assert work_on(job_id, WORKERS, other, queues.bell()) == "done"
        other.close()
        assert not keep_lease(job, worker)
        return Done([effect_of(job)])

    assert work_on(job_id, {"fetch_fee": slow}, worker, queues.bell()) == "lost"
    assert effects_of(effects) == {job_id: 1}


def test_a_heartbeat_keeps_the_lease(effects: GatehouseDatabase, worker: Database, queues: Queues) -> None:
    (job_id,) = write_jobs(effects, 1)

    def long(job: Job) -> Outcome:
        effects.sql("update jobs set lease_until = now() + interval '1 s'")
        assert keep_lease(job, worker)
        return Done([effect_of(job)])

    assert work_on(job_id, {"fetch_fee": long}, worker, queues.bell()) == "done"


KILLED_WORKER = """
    import os, signal, sys
    from gatehouse.jobs import claim
    from gatehouse.jobs.claim import Done, work_on
    from tests.jobs.test_jobs import effect_of
    from tests.support.database import database_at
    def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    def do_it(job):
        if sys.argv[3] == "before its effect":
            die()
        return Done([effect_of(job)])

    if sys.argv[3] == "after its effect":
        claim.metrics.count = die  # the first thing that happens once the effect is committed
    work_on(int(sys.argv[2]), {"fetch_fee": do_it}, database_at(sys.argv[1]), None)
"""


@pytest.mark.parametrize("moment", ["before its effect", "after its effect"])
def test_a_killed_worker_costs_time_and_nothing_else(
    effects: GatehouseDatabase, worker: Database, queues: Queues, moment: str
) -> None:
    (job,) = write_jobs(effects, 1)
    root = Path(__file__).parents[2]
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED_WORKER), effects.url("worker"), str(job), moment],
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root}:{root}/layers/gatehouse"},
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    effects.sql("update jobs set lease_until = now() - interval '1 s' where status = 'leased'")
    make_due(effects)
    sweep(worker, queues.bell(), seconds=5)
    work_through(sqs_event(*queues.take("enrichment")), Context(), WORKERS, worker, queues.bell())
    assert statuses(effects) == {"done": 1}
    assert effects_of(effects) == {job: 1}


@pytest.mark.req("O1", "M1")
def test_how_long_enrichment_took_is_told(
    effects: GatehouseDatabase, worker: Database, queues: Queues, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the writing of the job, however often it was tried, to its end."""
    (job,) = write_jobs(effects, 1)
    effects.sql("update jobs set created_at = now() - interval '90 s'")
    metrics.emit()  # what others have gathered
    capsys.readouterr()
    assert work_on(job, WORKERS, worker, queues.bell()) == "done"
    metrics.emit()
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "EnrichmentTime" in line]
    assert [line["EnrichmentTime"] for line in told] == [pytest.approx(90_000, rel=0.05)]


def test_a_workers_clock_does_not_matter(
    effects: GatehouseDatabase, worker: Database, queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All times are the database's: a worker that lives in the year 2001 neither claims early nor lets go late."""
    (job,) = write_jobs(effects, 1)
    monkeypatch.setattr("time.time", lambda: 1_000_000_000.0)
    assert work_on(job, {"fetch_fee": lambda _: Postponed("later", 60)}, worker, queues.bell()) == "postponed"
    assert work_on(job, WORKERS, worker, queues.bell()) == "nothing to do"
    due = effects.sql("select extract(epoch from due_at - now()) from jobs")[0][0]
    assert 55 < due < 120


def test_what_a_retry_may_mend_is_postponed_longer_each_time_and_then_buried(
    effects: GatehouseDatabase, worker: Database, queues: Queues
) -> None:
    (job,) = write_jobs(effects, 1)

    def refused(_: Job) -> Outcome:
        raise GatewayError("Stripe says 429", retry_helps=True, retry_after_seconds=7)

    waits = []
    for _ in range(TOPICS["fetch_fee"].most_attempts - 1):
        assert work_on(job, {"fetch_fee": refused}, worker, queues.bell()) == "postponed"
        waits.append(float(effects.sql("select extract(epoch from due_at - now()) from jobs")[0][0]))
        make_due(effects)
    assert waits[0] >= 7
    assert waits[4] > 3 * waits[1]
    assert max(waits) < 8 * 3600
    assert work_on(job, {"fetch_fee": refused}, worker, queues.bell()) == "buried"
    assert effects.sql("select status, last_error from jobs") == [["dead", "GATEWAY_ERROR: Stripe says 429"]]


def test_a_buried_job_is_in_the_dead_letter_queue_and_moving_it_back_reopens_it(
    effects: GatehouseDatabase, worker: Database, queues: Queues
) -> None:
    (job,) = write_jobs(effects, 1)
    hopeless: dict[str, Worker] = {"fetch_fee": lambda _: Hopeless("the key is wrong")}
    assert work_on(job, hopeless, worker, queues.bell()) == "buried"
    (dead_letter,) = queues.take("enrichment-dlq")
    assert json.loads(dead_letter) == {"job": job, "burial": 1}

    late_bell = json.dumps({"job": job})
    work_through(sqs_event(late_bell), Context(), WORKERS, worker, queues.bell())
    assert statuses(effects) == {"dead": 1}, "only a dead letter opens the grave"
    work_through(sqs_event(dead_letter, dead_letter), Context(), WORKERS, worker, queues.bell())
    assert statuses(effects) == {"done": 1}
    assert effects_of(effects) == {job: 1}


def test_a_burial_that_nobody_heard_of_is_told_by_the_sweeper(
    effects: GatehouseDatabase, worker: Database, queues: Queues
) -> None:
    (job,) = write_jobs(effects, 1)
    deaf = queues.bell(unreachable_sqs())
    assert work_on(job, {"fetch_fee": lambda _: Hopeless("no")}, worker, deaf) == "buried"
    assert sweep(worker, queues.bell(), seconds=5, grace_seconds=0)["told"] == 1
    assert sweep(worker, queues.bell(), seconds=5, grace_seconds=0)["told"] == 0
    assert queues.take_json("enrichment-dlq") == [{"job": job, "burial": 1}]


def test_a_job_that_kills_every_worker_is_given_up(
    effects: GatehouseDatabase, worker: Database, queues: Queues
) -> None:
    (job,) = write_jobs(effects, 1)
    effects.sql(
        "update jobs set status = 'leased', lease_token = gen_random_uuid(), lease_until = now() - interval '1 s', "
        f"attempts = {TOPICS['fetch_fee'].most_attempts}"
    )
    assert work_on(job, WORKERS, worker, queues.bell()) == "buried"
    assert "its worker vanished" in effects.sql("select last_error from jobs")[0][0]


@pytest.mark.parametrize(
    "body", ["", "no json", "[]", "{}", '{"job": "1"}', '{"job": true}', '{"job": 1, "burial": 2.5}']
)
def test_a_bad_message_is_reported_alone(
    effects: GatehouseDatabase, worker: Database, queues: Queues, body: str
) -> None:
    (job,) = write_jobs(effects, 1)
    event = sqs_event(body, json.dumps({"job": job}))
    answer = work_through(event, Context(), WORKERS, worker, queues.bell())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}
    assert statuses(effects) == {"done": 1}


def test_with_the_database_away_the_whole_batch_fails(queues: Queues) -> None:
    away = database_at("postgresql://gatehouse_worker:x@127.0.0.1:9/gatehouse", away_seconds=5)
    with pytest.raises(ConnectionError):
        work_through(sqs_event('{"job": 1}', '{"job": 2}'), Context(), WORKERS, away, queues.bell())


def test_work_is_not_begun_when_the_time_is_nearly_up(
    effects: GatehouseDatabase, worker: Database, queues: Queues
) -> None:
    (job,) = write_jobs(effects, 1)
    answer = work_through(sqs_event(json.dumps({"job": job})), Context(3_000), WORKERS, worker, queues.bell())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}
    assert statuses(effects) == {"waiting": 1}


def test_ten_thousand_jobs_are_each_done_once(
    effects: GatehouseDatabase, gatehouse_database: GatehouseDatabase, queues: Queues
) -> None:
    """Four workers, every bell rung twice, in two orders."""
    jobs = write_jobs(effects, 10_000)
    verdicts: list[Counter[str]] = []

    def work(share: list[int]) -> None:
        mine = gatehouse_database.connect("worker")
        bell = queues.bell()
        verdicts.append(Counter(work_on(job, WORKERS, mine, bell) for job in share))
        mine.close()

    shares = [jobs[0::2], jobs[1::2], jobs[::-2], jobs[-2::-2]]
    threads = [threading.Thread(target=work, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(verdicts, Counter()) == {"done": 10_000, "nothing to do": 10_000}
    assert effects_of(effects) == dict.fromkeys(jobs, 1)


def test_a_job_of_an_unknown_topic_keeps_no_other_from_being_rung_for(
    effects: GatehouseDatabase, worker: Database, queues: Queues
) -> None:
    """A newer version wrote it and was rolled back."""
    (job,) = write_jobs(effects, 1)
    effects.sql("insert into jobs (topic, business_key, merchant) values ('of_tomorrow', 'key', 'default')")
    make_due(effects)
    assert sweep(worker, queues.bell(), seconds=5)["rung"] == 1
    assert queues.take_json("enrichment") == [{"job": job}]


def test_a_sweep_ends_in_time_though_the_queues_are_slow(effects: GatehouseDatabase, worker: Database) -> None:
    class SlowBell(Bell):
        def __init__(self) -> None:
            self.spent = 0.0

        def ring(
            self, jobs: Iterable[tuple[int, str]], *, budget_seconds: float = 0.0, delays: Mapping[int, int] = NO_DELAYS
        ) -> int:
            assert list(jobs)
            assert not delays
            self.spent += budget_seconds
            time.sleep(budget_seconds)
            return 0

        def tell_burials(self, burials: Sequence[Burial], *, budget_seconds: float) -> list[Burial]:
            assert burials
            self.spent += budget_seconds
            return []

    buried, _due = write_jobs(effects, 2)
    effects.sql(f"update jobs set status = 'dead', burial_told = false, finished_at = now() where id = {buried}")
    make_due(effects)
    slow = SlowBell()
    sweep(worker, slow, seconds=2, grace_seconds=0)
    assert slow.spent <= 3.1


def test_a_sweep_that_cannot_make_partitions_stands_in_no_recordings_way(
    gatehouse_database: GatehouseDatabase, worker: Database, queues: Queues, open_database: DatabaseOpener
) -> None:
    """A backup reads the tables for an hour; a new partition would have to wait for it, and all others behind that."""
    ((newest,),) = gatehouse_database.sql(
        "select max(inhrelid::regclass::text) from pg_inherits where inhparent = 'webhook_payloads'::regclass "
        "and inhrelid::regclass::text < 'webhook_payloads_d'"
    )
    gatehouse_database.sql(f"drop table {newest}")
    backup = open_database(gatehouse_database.url("owner"))
    with backup.transaction() as transaction:
        transaction.query("select count(*) as n from webhook_payloads")
        began = time.monotonic()
        assert sweep(worker, queues.bell(), seconds=5)["partitions_made"] == 0
        assert time.monotonic() - began < 3
        intake = open_database(gatehouse_database.url("intake"))
        intake.query("select count(*) as n from webhook_events")
        ((waiting,),) = gatehouse_database.sql("select count(*) from pg_locks where not granted")
        assert waiting == 0
    assert sweep(worker, queues.bell(), seconds=5)["partitions_made"] == 1


def test_the_backlog_is_counted_without_a_look_at_what_is_done(gatehouse_database: GatehouseDatabase) -> None:
    gatehouse_database.sql(
        "insert into jobs (topic, business_key, merchant, status, due_at) select 'fetch_fee', 'key ' || n, 'default', "
        "case when n <= 2 then 'waiting' when n <= 5 then 'dead' else 'done' end, now() - n * interval '1 minute' "
        "from generate_series(1, 20000) as n; analyze jobs"
    )
    worker = gatehouse_database.connect("worker")
    (counted,) = worker.query(sql.backlog)
    assert counted | {"oldest_seconds": 0} == {"topic": "fetch_fee", "waiting": 2, "dead": 3, "oldest_seconds": 0}
    assert 120 <= counted["oldest_seconds"] < 150
    assert "Seq Scan on jobs" not in worker.debug(sql.backlog).plan
    worker.close()
