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
    return write_private(folder / NAME, stack)


def read(folder: Path) -> dict[str, Any]:
    """Return what the running stack wrote; raise StackNotRunning when there is none, or it was killed."""
    try:
        stack: dict[str, Any] = json.loads((folder / NAME).read_text())
    except FileNotFoundError:
        raise StackNotRunning(f"{folder / NAME} is not there: start the stack with `make run`") from None
    if "pid" in stack and not Path(f"/proc/{stack['pid']}").exists():
        raise StackNotRunning(f"the stack of {folder / NAME} was killed: start it again with `make run`")
    return stack


def remove(folder: Path) -> None:
    """Remove the file: the stack has stopped."""
    (folder / NAME).unlink(missing_ok=True)


def write_private(file: Path, content: Any) -> Path:
    """Write JSON in one step, so that nobody ever reads half of it, for the owner's eyes only."""
    unfinished = file.with_name(f".{file.name}.new")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps(content, indent=2) + "\n")
    return unfinished.replace(file)
