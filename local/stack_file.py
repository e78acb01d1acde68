"""`.local/stack.json`: where everything of the running stack is, for tools, tests and people."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAME = "stack.json"


class StackNotRunning(Exception):
    """`make run` is not running, so there is nobody to talk to."""


def write(folder: Path, stack: Mapping[str, Any]) -> Path:
    """Write the file in one step, readable by its owner only: it holds passwords."""
    unfinished = folder / f".{NAME}.new"
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps(stack, indent=2) + "\n")
    return unfinished.replace(folder / NAME)


def read(folder: Path) -> dict[str, Any]:
    """Return what the running stack wrote; raise StackNotRunning when there is no file."""
    try:
        stack: dict[str, Any] = json.loads((folder / NAME).read_text())
    except FileNotFoundError:
        raise StackNotRunning(f"{folder / NAME} is not there: start the stack with `make run`") from None
    return stack


def remove(folder: Path) -> None:
    """Remove the file: the stack has stopped."""
    (folder / NAME).unlink(missing_ok=True)
