"""How every command of `gatehouse` speaks: plain lines and small tables on stdout, complaints on stderr."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

MISSING = "–"  # noqa: RUF001 - an en dash, as tables show what is not there

WIDTH_WHERE_NOBODY_LOOKS = 10_000  # in a pipe or a log, lines are as long as they are

# Without emoji: the ARN of a secret holds `:secret:`, and is no picture.
_out = Console(highlight=False, soft_wrap=True, emoji=False)
if not _out.is_terminal:
    _out.width = WIDTH_WHERE_NOBODY_LOOKS
_complaints = Console(highlight=False, soft_wrap=True, emoji=False, stderr=True)


def say(line: str, style: str = "") -> None:
    """Write one line."""
    _out.print(line, style=style, markup=False)


def clear_screen() -> None:
    """Begin a new screen, where there is one; elsewhere what follows comes below."""
    _out.clear()


def complain(message: str) -> None:
    """Write why something was not done; in red where colours are shown."""
    for line in message.splitlines():
        _complaints.print(f"error: {line}", style="red", markup=False)


def note(line: str) -> None:
    """Write how far the work has come: beside the results, so that those can be piped."""
    _complaints.print(line, markup=False)


def show_table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """Write a table; the columns named in `right` hold numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", no_wrap=True)
    for row in rows:
        # As Text: a bracket in somebody's words is no markup.
        table.add_row(*(Text(MISSING if cell is None else str(cell)) for cell in row))
    _out.print(table, width=None if _out.is_terminal else _out.measure(table).maximum, crop=False)
