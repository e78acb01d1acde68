"""`gatehouse tenants` against the running stack, as people type it."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import command_line
from tests.support.stack import RunningStack

type Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def gatehouse(running_stack: RunningStack) -> Command:
    """Return a function that runs `gatehouse tenants …` with the settings of the running stack."""
    environment = {"PATH": os.environ["PATH"], **running_stack.facts["command_line"]}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return command_line.gatehouse("tenants", *arguments, environment=environment)

    return run


@pytest.mark.req("O5", "T1", "T3", "T4", "T5")
def test_a_tenants_life_by_command(gatehouse: Command, tmp_path: Path) -> None:
    made = gatehouse("create", "By hand", "--plan", "pro", "--owner", "user:anna")
    assert made.returncode == 0, made.stderr
    tenant, said = made.stdout.split("\n")[:2]
    assert said == "active on plain"
    assert tenant in gatehouse("list").stdout
    asked = gatehouse("query", tenant, "select 1 as one")
    assert json.loads(asked.stdout)["data"] == [{"one": 1}]
    refused = gatehouse("query", tenant, "create table t (n int)")
    assert (refused.returncode, refused.stderr.strip()) == (1, "error: a viewer reads only, and CREATE writes")
    assert gatehouse("query", tenant, "create table t (n int)", "--role", "owner").returncode == 0
    assert gatehouse("permissions", "grant", tenant, "user:vera", "--role", "viewer").returncode == 0
    shown = gatehouse("show", tenant).stdout
    assert "viewer         user:vera" in shown
    assert "sealed" not in shown
    assert gatehouse("usage", tenant).stdout.splitlines()[1].split()[2] == "3"
    assert gatehouse("suspend", tenant, "--reason", "unpaid").returncode == 0
    assert "suspended: unpaid" in gatehouse("query", tenant, "select 1 as one").stderr
    assert gatehouse("resume", tenant).returncode == 0
    assert gatehouse("migrate", "--all").stdout.strip().endswith("0 FAILED")
    wrong = gatehouse("delete", tenant, "--confirm", "Another")
    assert (wrong.returncode, "is not called Another" in wrong.stderr) == (1, True)
    file = tmp_path / "rows"
    gone = gatehouse("delete", tenant, "--confirm", "By hand", "--at-once", "--export", str(file))
    assert gone.returncode == 0, gone.stderr
    assert file.exists()
    assert gatehouse("show", "t" + "x" * 15).stderr.strip() == f"error: there is no tenant t{'x' * 15}"


@pytest.mark.req("O5", "T3")
def test_the_attack_by_command_leaves_nothing(gatehouse: Command) -> None:
    tried = gatehouse("attack")
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert "attacks held on plain" in tried.stdout
    assert gatehouse("endpoint", "plain").stdout.strip() == "plain: open"
    assert "orphan" not in gatehouse("doctor").stdout
