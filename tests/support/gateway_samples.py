"""The payloads in events/ and beside the tests of a gateway, and events as JSON to compare them with expectations."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from gatehouse.facts import Event

PROJECT = Path(__file__).parents[2]


def samples(gateway: str) -> dict[str, Path]:
    """Return the samples of the events that a gateway's translation handles."""
    return {path.stem: path for path in sorted((PROJECT / "events" / gateway).glob("*.json"))}


def ignored_samples(gateway: str) -> dict[str, Path]:
    """Return the samples of the events that are kept as ignored."""
    return {path.stem: path for path in sorted((PROJECT / "tests/gateways" / gateway / "ignored").glob("*.json"))}


def expected(gateway: str) -> dict[str, Any]:
    """Return what was reviewed: the event that each sample becomes."""
    content: dict[str, Any] = json.loads((PROJECT / "tests/gateways" / gateway / "expected_facts.json").read_text())
    return content


def as_json(event: Event) -> Any:
    """Return an Event as JSON: nothing that says nothing, times as text."""
    return _plain(event)


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items() if inner not in (None, ())}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, datetime) else value
