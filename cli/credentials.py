"""Takes credentials from a prompt, a file or stdin, never from the command line, which every process can read."""

import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from gatehouse.errors import SettingError
from gatehouse.gateways import Credential

MADE_CHARACTERS = 48


def asked_for(wanted: Sequence[Credential], file: Path | None) -> dict[str, str]:
    """Return the credentials by name: from a JSON file, from stdin for `-`, else asked for one by one."""
    given = _prompted(wanted) if file is None else _read(file)
    if unknown := given.keys() - {each.name for each in wanted}:
        raise SettingError(f"unknown: {', '.join(sorted(unknown))}; wanted: {', '.join(each.name for each in wanted)}")
    found: dict[str, str] = {}
    for each in wanted:
        value = given.get(each.name) or (secrets.token_urlsafe(MADE_CHARACTERS) if each.is_made_here else "")
        if not isinstance(value, str):
            raise SettingError(f"{each.name} must be a text")
        if each.is_required and not value.strip():
            raise SettingError(f"{each.name} is missing: {each.words}")
        if value.strip():
            found[each.name] = value.strip()
    return found


def as_kept(wanted: Sequence[Credential], given: dict[str, str]) -> dict[str, Any]:
    """Return credentials in the form in which an account keeps them: `hmac.header` is the header of its hmac."""
    kept: dict[str, Any] = {"signing_secrets": []}
    for each in wanted:
        if each.name not in given:
            continue
        group, _dot, field = each.name.rpartition(".")
        if each.signs:
            kept["signing_secrets"] = [given[each.name]]
        elif group:
            # Secrets come in lists, so that an old and a new one can stand side by side.
            kept.setdefault(group, {})[field] = [given[each.name]] if field == "secrets" else given[each.name]
        else:
            kept[each.name] = given[each.name]
    return kept


def held(kept: Mapping[str, Any], name: str) -> Any:
    """Return what an account keeps under a credential's name, or None."""
    group, _dot, field = name.rpartition(".")
    place = kept.get(group, {}) if group else kept
    return place.get(field)


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
