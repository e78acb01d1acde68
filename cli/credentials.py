"""Takes credentials from a prompt, a file or stdin, never from the command line, which every process can read."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from gatehouse.errors import SettingError, ValidationError
from gatehouse.gateways import Credential
from gatehouse.gateways.credentials import checked


def asked_for(wanted: Sequence[Credential], file: Path | None) -> dict[str, str]:
    """Return the credentials by name: from a JSON file, from stdin for `-`, else asked for one by one."""
    given = _prompted(wanted) if file is None else _read(file)
    try:
        return checked(wanted, given)
    except ValidationError as wrong:
        raise SettingError(str(wrong)) from None


def _prompted(wanted: Sequence[Credential]) -> dict[str, Any]:
    if not sys.stdin.isatty():
        raise SettingError("nobody is there to be asked: give --credentials FILE, or --credentials - and JSON on stdin")
    return {
        each.name: typer.prompt(
            each.words,
            hide_input=each.is_secret,
            default="" if each.is_made_here or not each.is_required else None,
            show_default=False,
        )
        for each in wanted
    }


def _read(file: Path) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        given = json.loads(text)
    except OSError as reason:
        raise SettingError(f"{file}: {reason.strerror}") from None
    except ValueError:
        raise SettingError(f"{file}: not JSON") from None  # not chained: the parser's error holds the text
    if not isinstance(given, dict):
        raise SettingError(f"{file}: not a JSON object")
    return given
