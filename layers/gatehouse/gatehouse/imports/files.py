"""Reads CSV and JSONL files record by record, and says after each how many bytes are behind it: the place to go on."""

import csv
from collections.abc import Iterator, Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from gatehouse.errors import RequestRefused, SettingError
from gatehouse.gateways.json_body import read_json_object

LONGEST_LINE = 1_048_576  # a quote that is never closed would make one record of all the rest


class Record(NamedTuple):
    """One record of a file."""

    line: int  # the first of its lines, counted from 1
    end: int  # the bytes up to its end
    values: dict[str, Any]
    wrong: str = ""  # why it cannot be read at all


class Opened(NamedTuple):
    """A file, ready to be read from a place."""

    columns: tuple[str, ...]  # of a CSV's heading; none for JSONL
    records: Iterator[Record]
    size: int


def content_hash(file: Path) -> str:
    """Return the SHA-256 of a file; raise SettingError where it cannot be read."""
    try:
        with file.open("rb") as stream:
            return file_digest(stream, "sha256").hexdigest()
    except OSError as reason:
        raise SettingError(f"{file}: {reason.strerror}") from None


def open_records(file: Path, *, place: int = 0) -> Opened:
    """Open a file that ends in .csv or .jsonl, from the place where an earlier reading stopped."""
    if file.suffix.lower() not in (".csv", ".jsonl", ".ndjson"):
        raise SettingError(f"{file}: must end in .csv or .jsonl, so that it is clear how to read it")
    try:
        stream = file.open("rb")
    except OSError as reason:
        raise SettingError(f"{file}: {reason.strerror}") from None
    size = file.stat().st_size
    lines = _Lines(stream)
    if file.suffix.lower() != ".csv":
        lines.skip_to(place)
        return Opened((), _json_records(lines), size)
    try:
        columns = tuple(each.strip() for each in next(csv.reader(lines, strict=True), []))
    except csv.Error as reason:
        raise SettingError(f"{file} line 1: {reason}") from None
    if not columns:
        raise SettingError(f"{file}: is empty; its first line must name the columns")
    lines.skip_to(place)
    return Opened(columns, _csv_records(lines, columns), size)


class _Lines:
    """The lines of a file as text, and how far they have been read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.end = 0
        self.count = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(LONGEST_LINE)
        if not line:
            self._stream.close()
            raise StopIteration
        self.end += len(line)
        self.count += 1
        text = line.decode("utf-8", "surrogateescape")  # one bad byte spoils its record and no other
        return text.removeprefix("\ufeff") if self.count == 1 else text

    def skip_to(self, place: int) -> None:
        while self.end < place:
            next(self)


def _csv_records(lines: _Lines, columns: Sequence[str]) -> Iterator[Record]:
    reader = csv.reader(lines, strict=True)
    while True:
        line = lines.count + 1
        try:
            fields = next(reader, None)
        except csv.Error as reason:
            yield Record(line, lines.end, {}, f"is not CSV: {reason}")
            reader = csv.reader(lines, strict=True)
            continue
        if fields is None:
            return
        if not fields:  # an empty line
            continue
        if len(fields) != len(columns):
            yield Record(line, lines.end, {}, f"has {len(fields)} fields, the heading has {len(columns)}")
        elif _is_broken(fields):
            yield Record(line, lines.end, {}, "is not UTF-8, or holds a NUL")
        else:
            yield Record(line, lines.end, dict(zip(columns, fields, strict=True)))


def _json_records(lines: _Lines) -> Iterator[Record]:
    for text in lines:
        if not text.strip():
            continue
        try:
            yield Record(lines.count, lines.end, read_json_object(text.encode("utf-8", "surrogateescape")))
        except RequestRefused as refusal:
            yield Record(lines.count, lines.end, {}, str(refusal).removeprefix("the body "))


def _is_broken(fields: Sequence[str]) -> bool:
    whole = "".join(fields)
    if whole.isascii():
        return "\0" in whole
    return "\0" in whole or any("\ud800" <= character <= "\udfff" for character in whole)
