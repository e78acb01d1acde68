"""What the commands over the store share: whose rows, who asks, and how JSON and money are shown."""

import getpass
import json
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Annotated, Any

import typer

from gatehouse.accounts import DEVELOPMENT_STAGES
from gatehouse.money import written
from gatehouse.settings import settings

MerchantOption = Annotated[str, typer.Option("--merchant", help="Whose rows.")]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON, one object a line.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=200, help="How many.")]
AfterOption = Annotated[str | None, typer.Option("--after", help="What the page before said under `more`.")]
DEFAULT_MERCHANT = "default"


def actor() -> str:
    """Return who asks, as the audit will say it."""
    return f"{getpass.getuser()} (gatehouse command)"


def is_live_here() -> bool:
    """Return whether orders made here are paid with real money."""
    return settings().stage not in DEVELOPMENT_STAGES


def as_json(value: Any) -> str:
    """Return a row, or rows within rows, as JSON with their field names."""
    return json.dumps(_named(value), default=_text, ensure_ascii=False)


def money(amount_minor: int | None, currency: str | None) -> str | None:
    """Return an amount as people read it, or None where it is not known."""
    return None if amount_minor is None or currency is None else written(amount_minor, currency)


def moment(value: datetime | None) -> str | None:
    """Return a time to the second, in UTC."""
    return None if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def lines(pairs: Iterable[tuple[str, object]]) -> Iterable[str]:
    """Give a line for each field."""
    for name, value in pairs:
        yield f"{name:<14} {'–' if value is None else value}"  # noqa: RUF001 - an en dash, as in every table


def _named(value: Any) -> Any:
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _named(part) for name, part in value._asdict().items()}
    return [_named(part) for part in value] if isinstance(value, list | tuple) else value


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime | date) else str(value)
