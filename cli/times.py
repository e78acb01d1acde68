"""How commands take a time: with its zone, so that nobody guesses."""

from datetime import datetime

import typer


def moment(text: str | None) -> datetime | None:
    """Return the time that `--since` gives; one without a zone is a mistake."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise typer.BadParameter(f"{text!r} is not a time with a zone, such as 2026-11-20T08:00Z", param_hint="--since")
    return found
