"""The documents speak of files and commands that exist."""

import re
from pathlib import Path

import pytest

from tests.template.expansion import PROJECT, our_source

DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
DECISIONS = [file for file in sorted((PROJECT / "docs" / "decisions").glob("*.md")) if file.name != "README.md"]
TARGETS = set(re.findall(r"^([a-z0-9-]+):.* ## ", (PROJECT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_every_link_leads_to_a_file(document: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()) if "://" not in link]
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_every_make_command_exists(document: Path) -> None:
    assert set(re.findall(r"`make ([a-z0-9-]+)", document.read_text())) <= TARGETS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_every_event_file_exists(document: Path) -> None:
    files = re.findall(r"events/[\w./-]+\.json", document.read_text())
    assert [file for file in files if not (PROJECT / file).exists()] == []


def test_the_readme_tells_every_command() -> None:
    table = (PROJECT / "README.md").read_text().split("## All commands")[1].split("## Where")[0]
    assert set(re.findall(r"^\| `make ([a-z0-9-]+)", table, re.MULTILINE)) == TARGETS


def test_the_readme_shows_folders_that_exist() -> None:
    tree = (PROJECT / "README.md").read_text().split("## Where things are")[1].split("```")[1]
    named = re.findall(r"^(\S+)", tree, re.MULTILINE)
    assert [name for name in named if not (PROJECT / name).exists()] == []


@pytest.mark.req("O3")
def test_the_deployment_guide_tells_every_parameter_that_must_be_given() -> None:
    guide = (PROJECT / "docs" / "deploy.md").read_text()
    needed = [name for name, each in our_source()["Parameters"].items() if "Default" not in each]
    assert [name for name in needed if name not in guide] == []


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda file: file.stem)
def test_each_decision_says_why_what_else_and_what_it_costs(decision: Path) -> None:
    text = decision.read_text()
    assert re.match(rf"# {int(decision.name[:4])}\. ", text)
    assert [
        part for part in ("We chose", "Why.", "What else there was", "What it costs.") if f"**{part}**" not in text
    ] == []


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(file.name[:4]) for file in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_make_help_tells_every_command() -> None:
    phony = re.findall(r"^\.PHONY: (.+)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert set(" ".join(phony).split()) == TARGETS
