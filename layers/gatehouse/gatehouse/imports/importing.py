"""Imports a file of payments, batch by batch; whoever is stopped goes on where the last batch ended."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import batched
from pathlib import Path
from typing import NamedTuple

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.errors import Conflict
from gatehouse.imports.files import Opened, Record, content_hash, open_records
from gatehouse.imports.payment_rows import NAMED, BadRow, Reading, known_columns, read_payment
from gatehouse.imports.payments import (
    ROWS_A_BATCH,
    Entry,
    Import,
    Refused,
    begin_again,
    begin_import,
    find_import,
    known_names,
    record_batch,
)

Tell = Callable[[Sequence[Refused]], None]


class Step(NamedTuple):
    """How far an import has come after a batch."""

    place: int  # bytes that are through
    size: int
    rows: int  # of this batch
    recorded: int  # rows whose facts were new; in a dry run those whose payment is
    refused: int


class Read(NamedTuple):
    """A batch of rows as they were read."""

    entries: list[Entry]
    refused: list[Refused]
    rows: int
    end: int


def find_or_begin(database: Database, account: GatewayAccount, file: Path, *, again: bool = False) -> Import:
    """Return the import of a file, new or to be gone on with; raise Conflict where it is through and not wanted again.

    It is the same file when it holds the same bytes, whatever it is called.
    """
    running = begin_import(database, account, source=file.name, content_hash=content_hash(file))
    if running.finished_at is None:
        return running
    if not again:
        raise Conflict(f"{file} was imported at {running.finished_at:%Y-%m-%d %H:%M} already; --again goes through it")
    begin_again(database, running.id)
    return running._replace(place=0, rows_read=0, rows_recorded=0, rows_refused=0, finished_at=None)


def import_file(
    database: Database, account: GatewayAccount, file: Path, reading: Reading, running: Import, tell: Tell
) -> Iterator[Step]:
    """Import what is left of a file and yield after each batch, which is then recorded for good.

    `tell` hears of bad rows before their batch is recorded: after a crash it may hear of them again, and misses none.
    """
    place = running.place
    opened = open_records(file, place=place)
    for batch in read_batches(opened, reading):
        if batch.refused:
            tell(batch.refused)
        done = record_batch(
            database,
            running,
            account,
            batch.entries,
            place=place,
            end=batch.end,
            read=batch.rows,
            refused=len(batch.refused),
        )
        if done.refused:
            tell(done.refused)
        place = batch.end
        yield Step(place, opened.size, batch.rows, done.recorded, len(batch.refused) + len(done.refused))
    # The last lines may be empty: the import ends where the file does.
    record_batch(database, running, account, [], place=place, end=opened.size, read=0, refused=0, is_end=True)


def try_file(database: Database, account: GatewayAccount, file: Path, reading: Reading, tell: Tell) -> Iterator[Step]:
    """Read a file as an import would, and write nothing; yield after each batch how many payments would be new."""
    running = find_import(database, account, content_hash(file))
    opened = open_records(file, place=running.place if running and not running.finished_at else 0)
    for batch in read_batches(opened, reading):
        if batch.refused:
            tell(batch.refused)
        known = known_names(database, account, batch.entries)
        new = sum(entry.said.fact.objects[0] not in known for entry in batch.entries)
        yield Step(batch.end, opened.size, batch.rows, new, len(batch.refused))


def read_batches(opened: Opened, reading: Reading) -> Iterator[Read]:
    """Yield the rows of a file by the batch, those that can be read and those that cannot."""
    columns = known_columns(opened.columns)[0] if opened.columns else None
    for records in batched(opened.records, ROWS_A_BATCH, strict=False):
        yield _read(records, columns, reading)


def _read(records: Iterable[Record], columns: dict[str, str] | None, reading: Reading) -> Read:
    entries: list[Entry] = []
    refused: list[Refused] = []
    rows = end = 0
    for record in records:
        rows, end = rows + 1, record.end
        if record.wrong:
            refused.append(Refused(record.line, "the row", record.wrong))
            continue
        try:
            named = columns if columns is not None else _named(record)
            values = {name: record.values[column] for name, column in named.items()}
            entries.append(Entry(record.line, record.end, read_payment(values, reading)))
        except BadRow as bad:
            refused.append(Refused(record.line, _as_written(bad.field, columns), bad.reason))
    return Read(entries, refused, rows, end)


def _named(record: Record) -> dict[str, str]:
    """Return the columns of a JSON object by the names that we use; which it has may differ from line to line."""
    found: dict[str, str] = {}
    for column in record.values:
        name = NAMED.get(column.strip().lower())
        if name and name in found:
            raise BadRow(column, f"means {name}, as {found[name]} does")
        if name:
            found[name] = column
    return found


def _as_written(field: str, columns: dict[str, str] | None) -> str:
    """Return a field by the name that the file has for it."""
    return (columns or {}).get(field, field)


def lines_before(file: Path, place: int) -> int:
    """Return how many lines of a file lie before a place."""
    count = 0
    with file.open("rb") as stream:
        while place > 0 and (chunk := stream.read(min(place, 1 << 20))):
            count += chunk.count(b"\n")
            place -= len(chunk)
    return count
