"""Describes the schema of a database in SQL words, for people to read and for tests to compare.

`migrations/<database>/schema.sql` holds the description of what the migrations make. It is written by
`gatehouse migrate schema --write`; `verify` and a test compare it with a real database.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path

from gatehouse.database.direct_session import DirectSession
from gatehouse.database.sql import load_statements
from gatehouse.migrations.files import SCHEMA_FILE

HEADER = """\
-- The schema that the migrations make, read from the catalogue: to see it whole, and to compare with. Not to be run:
-- the migrations beside it are the source. `gatehouse migrate schema --write` writes this file, and a test compares it.
-- Roles belong to the server and monthly partitions to the calendar, so neither is here.
"""
PARTS_OF_TABLES = ("indexes", "row_security", "policies", "triggers", "comments")
MOST_DIFFERENCES = 20

sql = load_statements(Path(__file__).with_name("schema.sql"))


def describe(session: DirectSession) -> str:
    """Return the description of the whole database; the same schema gives the same text, wherever it is."""
    session.run("begin read only")
    try:
        session.run("set local search_path to public")  # names in public come without it, whatever the role prefers
        relations = [row["oid"] for row in session.query(sql.described_relations())]
        chapters = [
            session.query(sql.schemas_and_extensions()) + session.query(sql.default_privileges()),
            session.query(sql.types()),
            session.query(sql.functions()),
            session.query(sql.sequences(relations=relations)),
            session.query(sql.tables(relations=relations)),
            session.query(sql.views(relations=relations)),
        ]
        extras = session.query(sql.grants(relations=relations))
        for name in PARTS_OF_TABLES:
            extras += session.query(getattr(sql, name)(relations=relations))
    finally:
        session.run("rollback")
    objects = [{row["object"] for row in chapter} for chapter in chapters]
    for row in extras:
        home = next((number for number, names in enumerate(objects) if row["object"] in names), 0)
        chapters[home].append(row)
    return HEADER + "".join(_written(chapter) for chapter in chapters)


def differences(expected: str, found: str) -> tuple[str, ...]:
    """Return the lines that differ: `-` is missing in the database, `+` is only there; the first few of them."""
    lines = [
        line
        for line in difflib.unified_diff(expected.splitlines(), found.splitlines(), lineterm="", n=0)
        if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]
    more = [f"… and {len(lines) - MOST_DIFFERENCES} more lines"] if len(lines) > MOST_DIFFERENCES else []
    return tuple(lines[:MOST_DIFFERENCES] + more)


def schema_file(folder: Path) -> Path:
    """Return where the description of a folder's migrations lies."""
    return folder / SCHEMA_FILE


def _written(rows: Sequence[dict[str, str]]) -> str:
    """Return the statements sorted by object and part, an empty line before each object."""
    text = ""
    previous = None
    for row in sorted(rows, key=lambda row: (row["object"], row["part"], row["statement"])):
        text += "\n" if row["object"] != previous else ""
        text += row["statement"] + "\n"
        previous = row["object"]
    return text
