"""Reads a folder of migration files, and refuses one that could not be trusted later.

A file is one idea, `NNNN_what_it_does.sql`, numbered from 0001 without gaps:

    -- What this is for, in a sentence.
    -- migrate: no-transaction          (only where needed: CREATE INDEX CONCURRENTLY)
    -- migrate: up
    create table …;
    -- migrate: down
    drop table …;

Where there is no way back, `-- migrate: no way back because …` stands in place of the down section.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from gatehouse.errors import MigrationRefused
from gatehouse.migrations.statements import SqlStatement, UnreadableSql, split_statements

DATABASES = ("primary", "backup")
SCHEMA_FILE = "schema.sql"  # the description of what the migrations make; see schema.py

FILE_NAME = re.compile(r"(?P<version>[0-9]{4})_[a-z0-9]+(?:_[a-z0-9]+)*\.sql")
MARKER = re.compile(r"--[ \t]*migrate:[ \t]*(?P<word>.*?)[ \t]*")
NO_WAY_BACK = re.compile(r"no way back because (?P<reason>\S.*)")
CONCURRENT_INDEX = re.compile(
    r"create\s+(?:unique\s+)?index\s+concurrently\s+(?:if\s+not\s+exists\s+)?"
    r"(?:(?P<index>(?!on\b)[\w$]+|\"[^\"]+\")\s+)?on\s+(?:only\s+)?(?P<table>(?:[\w$]+|\"[^\"]+\")(?:\.(?:[\w$]+|\"[^\"]+\"))?)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration file, read and checked."""

    version: int
    name: str  # the file name without .sql
    checksum: str
    in_transaction: bool
    up: tuple[SqlStatement, ...]
    down: tuple[SqlStatement, ...]
    no_way_back: str | None  # the reason, where there is none
    up_text: str
    down_text: str

    @property
    def file(self) -> str:
        """Return the file's name, as messages show it."""
        return f"{self.name}.sql"

    def checksum_of_first(self, statements: int) -> str:
        """Return the checksum of so many statements of the up section."""
        return sha256("\0".join(statement.text for statement in self.up[:statements]).encode()).hexdigest()


def migrations_folder(database: str) -> Path | None:
    """Return the folder with the migrations of a database, or None where it has none yet.

    Looked for beside the package (in Lambda the layer's build puts `migrations/` there: /opt/python/migrations), one
    folder further up (/opt/migrations), and at the root of a checkout.
    """
    package = Path(__file__).resolve().parents[1]
    for place in (package.parents[0], package.parents[1], package.parents[2]):
        if (place / "migrations" / "primary").is_dir():
            folder = place / "migrations" / database
            return folder if folder.is_dir() else None
    raise MigrationRefused(f"there is no migrations/primary beside {package.name}, nor up to two folders above it")


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """Return all migrations of a folder in order; refuse with one line for each file that is not as it must be."""
    found: list[Migration] = []
    problems: list[str] = []
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".sql" and path.name != SCHEMA_FILE)
    for path in paths:
        try:
            found.append(read_migration(path))
        except MigrationRefused as refused:
            problems.append(str(refused))
    problems += _numbering_problems(paths)
    if problems:
        raise MigrationRefused("\n".join(problems))
    return tuple(found)


def read_migration(path: Path) -> Migration:
    """Return one migration file; refuse it, naming the file and the line, when it is not as it must be."""
    name = FILE_NAME.fullmatch(path.name)
    if name is None or name["version"] == "0000":
        raise MigrationRefused(f"{path.name}: the name must be like 0001_what_it_does.sql (lower case, from 0001)")
    text = _normal_text(path)
    try:
        return _parse(path.name, int(name["version"]), text)
    except UnreadableSql as unreadable:
        raise MigrationRefused(f"{path.name} line {unreadable.line}: {unreadable}") from unreadable


def concurrent_index(statement: SqlStatement) -> tuple[str | None, str] | None:
    """Return (index, table) of a CREATE INDEX CONCURRENTLY as they are written, or None for any other statement."""
    match = CONCURRENT_INDEX.match(statement.text)
    return (match["index"], match["table"]) if match else None


def _normal_text(path: Path) -> str:
    """Return the text without what an editor or git may change by itself: byte order mark, line ends, last newline."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MigrationRefused(f"{path.name}: not UTF-8 text (byte {error.start})") from error
    return text.replace("\r\n", "\n").rstrip("\n") + "\n"


def _parse(file: str, version: int, text: str) -> Migration:
    markers = [
        (match["word"], number)
        for number, line in enumerate(text.split("\n"), start=1)
        if (match := MARKER.fullmatch(line.rstrip()))
    ]
    lines = text.split("\n")
    where = _marker_lines(file, markers)
    up_at = where["up"]
    back_at = where.get("down") or where.get("no way back") or len(lines) + 1
    head, up_text, down_text = (
        "\n".join(part) for part in (lines[: up_at - 1], lines[up_at : back_at - 1], lines[back_at:])
    )
    if early := split_statements(head):
        raise MigrationRefused(f"{file} line {early[0].line}: SQL before `-- migrate: up`")
    up, down = split_statements(up_text, up_at + 1), split_statements(down_text, back_at + 1)
    in_transaction = "no-transaction" not in where
    reason = next((match["reason"] for word, _ in markers if (match := NO_WAY_BACK.fullmatch(word))), None)
    _refuse_what_cannot_work(file, up, down, in_transaction=in_transaction)
    if reason and down:
        raise MigrationRefused(f"{file} line {down[0].line}: SQL after `no way back`")
    if not (reason or down or "--" in down_text):
        raise MigrationRefused(f"{file}: the down section is empty: undo the up section, or say in a comment why not")
    return Migration(
        version=version,
        name=file.removesuffix(".sql"),
        checksum=sha256(text.encode()).hexdigest(),
        in_transaction=in_transaction,
        up=up,
        down=down,
        no_way_back=reason,
        up_text=up_text.strip("\n"),
        down_text=down_text.strip("\n"),
    )


def _marker_lines(file: str, markers: Sequence[tuple[str, int]]) -> dict[str, int]:
    """Return the line of each marker; refuse unknown, repeated, missing and misplaced ones."""
    where: dict[str, int] = {}
    for word, line in markers:
        known = "no way back" if NO_WAY_BACK.fullmatch(word) else word
        if known not in ("up", "down", "no-transaction", "no way back") or (known == "no way back" and known == word):
            raise MigrationRefused(
                f"{file} line {line}: unknown marker `-- migrate: {word}`"
                " (up, down, no-transaction, no way back because …)"
            )
        if known in where:
            raise MigrationRefused(f"{file} line {line}: a second `-- migrate: {word}`")
        where[known] = line
    if "up" not in where:
        raise MigrationRefused(f"{file}: no `-- migrate: up` line")
    if where.get("no-transaction", 0) > where["up"]:
        raise MigrationRefused(
            f"{file} line {where['no-transaction']}: `no-transaction` belongs above `-- migrate: up`"
        )
    backs = [where[word] for word in ("down", "no way back") if word in where]
    if not backs:
        raise MigrationRefused(
            f"{file}: no `-- migrate: down` section (where there is no way back: `-- migrate: no way back because …`)"
        )
    if len(backs) > 1 or backs[0] < where["up"]:
        raise MigrationRefused(f"{file} line {backs[-1]}: one way back, or `no way back`, and after the up section")
    return where


def _refuse_what_cannot_work(
    file: str, up: Sequence[SqlStatement], down: Sequence[SqlStatement], *, in_transaction: bool
) -> None:
    if not up:
        raise MigrationRefused(f"{file}: the up section has no statement")
    for statement in (*up, *down):
        if _opens_or_ends_transaction(statement.words):
            raise MigrationRefused(
                f"{file} line {statement.line}: {statement.words[0].upper()} is not for migration files: the engine"
                " opens and ends the transaction"
            )
        index = concurrent_index(statement)
        if index and in_transaction:
            raise MigrationRefused(
                f"{file} line {statement.line}: CREATE INDEX CONCURRENTLY cannot run inside a transaction: make"
                " `-- migrate: no-transaction` the first line"
            )
        if index and index[0] is None:
            raise MigrationRefused(
                f"{file} line {statement.line}: give the index a name, so that a half-built one can be found again"
            )


def _opens_or_ends_transaction(words: tuple[str, ...]) -> bool:
    match words:
        case ("begin" | "commit" | "end" | "abort", *_):
            return True
        case ("start" | "prepare", "transaction", *_):
            return True
        case ("rollback", *rest):
            return "to" not in rest  # ROLLBACK TO a savepoint stays inside
    return False


def _numbering_problems(paths: Sequence[Path]) -> list[str]:
    problems: list[str] = []
    expected = 1
    previous = ""
    for file in (path.name for path in paths if FILE_NAME.fullmatch(path.name)):
        version = int(file[:4])
        if previous and version == expected - 1:
            problems.append(f"{file}: {previous} has the same number")
        elif version != expected:
            problems.append(f"{file}: the number before it is missing (expected {expected:04})")
        expected = version + 1
        previous = file
    return problems
