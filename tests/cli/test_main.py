"""The `gatehouse` command itself."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from cli import output

GATEHOUSE = Path(sys.executable).with_name("gatehouse")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([GATEHOUSE, *arguments], capture_output=True, text=True, timeout=30)


@pytest.mark.req("O5")
def test_it_is_installed_and_says_its_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"gatehouse {version('gatehouse')}\n")


@pytest.mark.req("O5")
def test_help_lists_the_groups_and_their_commands() -> None:
    assert "migrate" in run("--help").stdout
    shown = run("migrate", "--help").stdout
    for command in ("status", "up", "down", "reset", "verify", "schema"):
        assert f" {command} " in shown
    for command in ("status", "up", "down", "reset", "verify", "schema"):
        assert "--database" in run("migrate", command, "--help").stdout


@pytest.mark.req("O5")
def test_what_is_said_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    output.say("arn:aws:secretsmanager:eu-west-1:1:secret:gatehouse/ops [red]")
    assert capsys.readouterr().out == "arn:aws:secretsmanager:eu-west-1:1:secret:gatehouse/ops [red]\n"


@pytest.mark.req("O5")
def test_a_wrong_command_is_told_without_a_traceback() -> None:
    done = run("migrate", "sideways")
    assert done.returncode == 2
    assert "No such command 'sideways'" in done.stderr
    assert "Traceback" not in done.stderr
