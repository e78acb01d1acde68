"""Which statements may be run over HTTP at all, by their first words.

This is the outer fence only. What holds is in the database: the caller's own role, which owns nothing of ours, a
transaction that is READ ONLY for who may only read, one statement by the extended protocol, and time-outs. The fence
keeps out what a role could still do to its own session, which the next caller gets: COMMIT, SET, LISTEN, COPY.
"""

import re
from typing import NamedTuple

from gatehouse.errors import StatementRefused

ROLES = ("viewer", "developer", "admin", "owner")  # from the least to the most
READING = frozenset({"select", "with", "values", "table", "explain", "show"})
FREEING = frozenset({"delete", "truncate", "drop"})  # what makes room where the storage is used up
WRITING = frozenset(
    {
        *("insert", "update", "merge", "call", "create", "alter", "comment", "refresh", "grant", "revoke", "analyze"),
        *FREEING,
    }
)
# After CREATE, ALTER or DROP: what belongs to the server or to the platform. Postgres refuses most of these too.
NOT_THEIRS = frozenset(
    {
        *("role", "user", "group", "database", "tablespace", "system", "extension", "event", "server", "foreign"),
        *("subscription", "publication", "language", "access", "temp", "temporary", "large"),
    }
)
# They stand between CREATE and the kind of thing.
BEFORE_THE_KIND = frozenset({"or", "replace", "global", "local", "trusted", "procedural"})
MOST_CHARACTERS = 100_000

_SKIPPED = re.compile(r"[\s(;]+|--[^\n]*(?:\n|$)", re.ASCII)
_WORD = re.compile(r"[A-Za-z_]+", re.ASCII)


class Asked(NamedTuple):
    """A statement that may be run, and how."""

    verb: str
    read_only: bool


def checked(statement: str, role: str, *, is_full: bool = False) -> Asked:
    """Return how a role may run a statement; raise StatementRefused that says why it may not."""
    if "\0" in statement:
        raise StatementRefused("a statement holds no zero character")
    if len(statement) > MOST_CHARACTERS:
        raise StatementRefused(f"a statement has at most {MOST_CHARACTERS} characters")
    verb, *more = _first_words(statement, 6)
    if verb in READING:
        return Asked(verb, read_only=role == "viewer" or is_full)
    if verb not in WRITING:
        raise StatementRefused(f"{verb.upper() or 'an empty statement'} is not run over HTTP")
    if role == "viewer":
        raise StatementRefused(f"a viewer reads only, and {verb.upper()} writes", code="ROLE_TOO_LOW")
    kind = next((word for word in more if word not in BEFORE_THE_KIND), "")
    if verb in ("create", "alter", "drop") and kind in NOT_THEIRS:
        raise StatementRefused(f"{verb.upper()} {kind.upper()} is not run over HTTP")
    if is_full and verb not in FREEING:
        raise StatementRefused(
            "the storage of the plan is used up, so the database is read-only: DELETE, TRUNCATE and DROP still work,"
            " or take a larger plan",
            code="STORAGE_FULL",
        )
    return Asked(verb, read_only=False)


def _first_words(statement: str, most: int) -> list[str]:
    """Return the first words in lower case, past comments and opening brackets; one empty text where there is none."""
    words: list[str] = []
    position = 0
    while len(words) < most:
        if statement.startswith("/*", position):
            position = _end_of_comment(statement, position)
        elif skipped := _SKIPPED.match(statement, position):
            position = skipped.end()
        elif word := _WORD.match(statement, position):
            words.append(word[0].lower())
            position = word.end()
        else:
            break
    return words or [""]


def _end_of_comment(text: str, start: int) -> int:
    """Return where a comment ends, which may hold others."""
    depth = 0
    for mark in re.compile(r"/\*|\*/").finditer(text, start):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(text)
