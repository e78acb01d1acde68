"""A migration takes nothing away that a running version still uses, unless it says why that is safe.

The migrations of a release are applied before its functions get traffic, so the old version meets the new schema. What
is added is unknown to it; what is dropped, renamed or given another type breaks it. So a release only expands, and a
later one contracts, in a statement below a line `-- contract: why nobody uses it any more`. Triggers and indexes are
named by no function, and are made anew as it needs.
"""

import re
from pathlib import Path

import pytest

from tests.template.expansion import PROJECT

OF_BEFORE = "0012_apply_facts.sql"  # applied before anything was deployed, and never changed since
MIGRATIONS = [file for file in sorted((PROJECT / "migrations").glob("*/[0-9]*.sql")) if file.name != OF_BEFORE]
CONTRACTS = re.compile(
    r"^\s*(drop\s+(table|view|function|type|sequence|schema)\b"
    r"|alter\s+table\b.*\b(drop\s+column|rename|alter\s+column\s+\S+\s+(set\s+data\s+)?type|set\s+not\s+null)\b"
    r"|alter\s+(function|view|sequence|type)\b.*\brename\b|truncate\b)",
    re.IGNORECASE,
)
REASON = re.compile(r"^\s*-- contract: \S.{10,}$")


def takes_away(text: str) -> list[str]:
    """Return the statements of the way up that take something away and do not say why that is safe."""
    lines = text.split("-- migrate: down")[0].splitlines()
    return [
        line.strip()
        for place, line in enumerate(lines)
        if CONTRACTS.match(line) and not (place and REASON.match(lines[place - 1]))
    ]


@pytest.mark.req("O3", "P13")
@pytest.mark.parametrize("file", MIGRATIONS, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_a_migration_only_adds(file: Path) -> None:
    assert takes_away(file.read_text()) == []


@pytest.mark.parametrize(
    "statement",
    [
        "drop table payments;",
        "drop function record_event(text);",
        "alter table payments drop column email;",
        "alter table payments rename column email to address;",
        "alter table payments alter column status type integer;",
        "alter table payments alter column status set not null;",
        "truncate payments;",
    ],
)
def test_the_rule_notices(statement: str) -> None:
    assert takes_away(f"create table one ();\n{statement}\n-- migrate: down\n") == [statement]
    assert takes_away(f"-- contract: the last version that read it left in May\n{statement}\n-- migrate: down\n") == []
    assert takes_away(f"create table one ();\n-- migrate: down\n{statement}\n") == []
