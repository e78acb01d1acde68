"""Rows of a file that were refused: written to a CSV beside it, so that they can be mended and given again."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, TextIO

HEADING = ("line", "field", "reason")


class BadRow(NamedTuple):
    """A row that was refused: where it stands, which field is wrong, and why."""

    line: int
    field: str
    reason: str


class Report:
    """The rows of one file that were refused; the report is made with the first of them."""

    def __init__(self, path: Path, *, keep_up_to: int = 0) -> None:
        self.path = path
        self.rows = 0
        self._stream: TextIO | None = None
        self._kept = _rows_up_to(path, keep_up_to)
        if not self._kept:
            path.unlink(missing_ok=True)

    def add(self, rows: Iterable[tuple[int, str, str]]) -> None:
        """Write rows, and see that they are on disk."""
        if self._stream is None:
            self._stream = self.path.open("w", newline="", encoding="utf-8")
            writer = csv.writer(self._stream)
            writer.writerow(HEADING)
            writer.writerows(self._kept)
        writer = csv.writer(self._stream)
        for line, field, reason in rows:
            writer.writerow((line, field, reason))
            self.rows += 1
        self._stream.flush()

    def close(self) -> None:
        """Let go of the file."""
        if self._stream:
            self._stream.close()


def _rows_up_to(path: Path, line: int) -> list[list[str]]:
    """Return the rows of an earlier report whose batch was recorded; the later ones are found again."""
    if not line or not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.reader(stream) if len(row) == len(HEADING) and row[0].isdigit()]
    return [row for row in rows if int(row[0]) <= line]
