"""A worker that is killed at any step of a delivery loses nothing, and tells the app nothing twice under another id."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from local.receiver import Conduct
from tests.forwarding.apps import HOST, QUICK
from tests.forwarding.story import Story

ROOT = Path(__file__).parents[2]

# The worker as a process of its own, over plain names: what it does between two steps is what the product does.
WORKER = """
import base64, json, os, ssl, sys, time
from gatehouse.forwarding.connections import Connections
from gatehouse.forwarding.worker import Desk, forward
from gatehouse.jobs.claim import work_on
from gatehouse.sealing import Keyring
from tests.intake.conftest import KEYS
from tests.support.database import database_at
from tests.support.queues import unreachable_sqs
from gatehouse.jobs.bell import Bell

url, allowed, root, job, step = sys.argv[1:]
database = database_at(url)


def stop_here(name):
    if name == step:
        print("at the step", flush=True)
        time.sleep(60)


class Transport:
    def __init__(self):
        self.real = Connections(lookup=lambda _: ["127.0.0.1"], trust=ssl.create_default_context(cafile=root))

    def exchange(self, *arguments):
        stop_here("before the delivery")
        answer = self.real.exchange(*arguments)
        stop_here("after the delivery")
        return answer


def worker(claimed):
    stop_here("after the claim")
    desk = Desk(lambda: database, lambda: Keyring(KEYS), Transport(), allowed_local=(allowed,))
    outcome = forward(claimed, desk)
    stop_here("before the end")
    return outcome


bell = Bell(unreachable_sqs(), {}, {})
print(work_on(int(job), {"forward": worker}, database, bell), flush=True)
"""


@pytest.mark.req("R3", "R4", "G10")
@pytest.mark.parametrize("step", ["after the claim", "before the delivery", "after the delivery", "before the end"])
def test_a_kill_at_each_step_ends_in_one_log_row_and_one_id(story: Story, step: str) -> None:
    with story.receiver() as app:
        story.charge()
        (job,) = story.jobs()
        arguments = [
            story.database.url("worker"),
            f"{HOST}:{app.address.partition(':')[2]}",
            str(story.ground.authority.root_file),
            str(job["id"]),
            step,
        ]
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WORKER), *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'layers' / 'gatehouse'}"},
        )
        assert process.stdout is not None
        while (line := process.stdout.readline()) and line.strip() != "at the step":
            assert line.startswith("{"), line
        assert line, "the worker ended before its step"
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert story.logs() == []
        story.work(job["id"])  # its lease still holds: nobody else may have it
        assert story.logs() == []
        story.rows("update jobs set lease_until = now() - interval '1 s'")
        story.work(job["id"])
        came = len(app.received)
        assert came == (2 if step in ("after the delivery", "before the end") else 1)
        assert len({each.id for each in app.received}) == 1
    assert [row["ok"] for row in story.logs()] == [True]
    assert [(job["status"], job["attempts"]) for job in story.jobs()] == [("done", 2)]


@pytest.mark.req("R3")
def test_many_that_wait_for_a_dead_app_do_not_slow_a_healthy_one(story: Story) -> None:
    """What holds the dead app's events back costs no delivery and waits for none; the bench says how long it takes."""
    story.patience = QUICK._replace(attempt_seconds=20.0)  # a busy machine may be slow to answer, and is not ill
    with story.receiver() as dead, story.receiver("nexai") as well:
        dead.behave(Conduct("down"))
        for _ in range(6):
            story.charge()
        story.work(threads=1)
        assert story.rows("select circuit_state from apps where name = 'elevenone'") == [["open"]]
        story.rows("update apps set circuit_probe_at = now() + interval '1 hour' where name = 'elevenone'")
        before = len(dead.received)
        for _ in range(30):
            story.charge()
            story.charge(app=None)
        story.work()
        assert len(well.received) == 30
        assert len(dead.received) == before
        assert {job["attempts"] for job in story.jobs() if job["status"] == "waiting"} == {0, 1}
        assert sum(job["attempts"] for job in story.jobs() if job["arguments"]["app"] == "elevenone") == 5
