"""Lists in pages: each page names the row that it ended at, so rows that come meanwhile neither double nor hide one."""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gatehouse.errors import InputRefused

MOST_ITEMS = 100
FINGERPRINT_CHARACTERS = 12

Position = Sequence[Any]
Row = dict[str, Any]


class Filters(BaseModel):
    """What every list can be asked: how many, and from where on. A name that is not known is refused, not ignored."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=MOST_ITEMS, description="How many at most.")
    cursor: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = Field(
        None, description="`next_cursor` of the page before; with the same filters."
    )

    def wanted(self) -> dict[str, Any]:
        """Return the filters alone, as the models take them."""
        return self.model_dump(exclude={"limit", "cursor"})


class Page[Item](BaseModel):
    """Some of the items, newest first."""

    items: list[Item]
    next_cursor: str | None = Field(description="Where the next page begins; null on the last one.")


def page[Item](
    rows: Sequence[Row], filters: Filters, item: Callable[[Row], Item], position: Callable[[Row], Position]
) -> Page[Item]:
    """Return a page of rows, of which one more was asked for than the page holds."""
    shown = rows[: filters.limit]
    cursor = _write(position(shown[-1]), filters) if len(rows) > filters.limit else None
    return Page(items=[item(row) for row in shown], next_cursor=cursor)


def stored_page[Found, Item](
    found: Sequence[Found], following: str | None, filters: Filters, item: Callable[[Found], Item]
) -> Page[Item]:
    """Return a page as the models of the store give it: rows, and their own word for where the next one begins."""
    cursor = None if following is None else _write((following,), filters)
    return Page(items=[item(each) for each in found], next_cursor=cursor)


def newest_first(row: Row) -> Position:
    """Return where a row stands in a list by the time at which we first heard of it."""
    return (row["first_fact_at"].isoformat(), row["id"])


def after_moment(filters: Filters) -> tuple[datetime | None, int | None]:
    """Return the moment and id that the page before ended at, or Nones for the first page."""
    if filters.cursor is None:
        return None, None
    match _read(filters):
        case [str(moment), int(row_id)] if not isinstance(row_id, bool) and abs(row_id) < 2**63:
            try:
                at = datetime.fromisoformat(moment)
            except ValueError:
                raise _not_ours() from None
            if at.tzinfo is not None:
                return at, row_id
    raise _not_ours()


def after_text(filters: Filters) -> str | None:
    """Return the text that the page before ended at, or None for the first page."""
    if filters.cursor is None:
        return None
    match _read(filters):
        case [str(text)] if "\0" not in text:
            return text
    raise _not_ours()


def after_pair(filters: Filters) -> tuple[datetime | None, str | None]:
    """Return the moment and the text id that the page before ended at, or Nones for the first page."""
    if filters.cursor is None:
        return None, None
    match _read(filters):
        case [str(moment), str(row_id)] if "\0" not in row_id:
            try:
                at = datetime.fromisoformat(moment)
            except ValueError:
                raise _not_ours() from None
            if at.tzinfo is not None:
                return at, row_id
    raise _not_ours()


def page_cursor(position: Position, filters: Filters) -> str:
    """Return the cursor of a page that ended at this position."""
    return _write(position, filters)


def _write(position: Position, filters: Filters) -> str:
    text = json.dumps([_fingerprint(filters), *position], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read(filters: Filters) -> list[Any]:
    """Return the position in a cursor. It is no secret and gives no right: row-level security does not look at it."""
    text = filters.cursor or ""
    try:
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode())
    except (ValueError, RecursionError):
        raise _not_ours() from None
    match found:
        case [str(fingerprint), *position]:
            if fingerprint != _fingerprint(filters):
                raise InputRefused("The cursor is of a list with other filters.", field="cursor", place="query")
            return position
    raise _not_ours()


def _fingerprint(filters: Filters) -> str:
    told = f"{type(filters).__name__} {filters.model_dump_json(exclude={'limit', 'cursor'})}"
    return hashlib.sha256(told.encode()).hexdigest()[:FINGERPRINT_CHARACTERS]


def _not_ours() -> InputRefused:
    return InputRefused("The cursor is none that a page gave.", field="cursor", place="query")
