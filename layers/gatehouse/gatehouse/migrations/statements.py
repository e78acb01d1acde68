"""Cuts SQL text into statements, as Postgres itself would read it.

Each statement is sent alone, so that an error can name it and its line, and so that a migration that runs outside a
transaction knows how far it came. A semicolon ends a statement unless it stands in a string, a quoted name, a comment,
a dollar-quoted body, brackets (CREATE RULE), or a BEGIN ATOMIC body.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

NAME_START = r"A-Za-z_\x80-\U0010ffff"
TOKEN = re.compile(
    rf"""
      (?P<space>     \s+ )
    | (?P<comment>   --[^\n]* )
    | (?P<block>     /\* )
    | (?P<escaped>   [eE]'(?:[^'\\]|''|\\.)*(?P<escaped_end>'?) )
    | (?P<string>    '(?:[^']|'')*(?P<string_end>'?) )
    | (?P<quoted>    "(?:[^"]|"")*(?P<quoted_end>"?) )
    | (?P<dollar>    \$(?:[{NAME_START}][{NAME_START}0-9]*)?\$ )
    | (?P<word>      [{NAME_START}][{NAME_START}0-9$]* )
    | (?P<number>    \$?[0-9]+ )
    | (?P<other>     . )
    """,
    re.VERBOSE | re.DOTALL,
)
WORDS_KEPT = 12  # enough to tell what kind of statement it is
BLOCK_COMMENT_EDGE = re.compile(r"/\*|\*/")


class UnreadableSql(ValueError):
    """The text ends inside a string, a quoted name, a comment or a body; `line` is where that began."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class SqlStatement:
    """One statement without its semicolon, and the line of the file on which it begins."""

    text: str
    line: int
    words: tuple[str, ...]  # its first bare words in lower case: what kind of statement it is

    def line_at(self, position: int) -> int:
        """Return the line of the file for a character position that the server reports (the first is 1)."""
        return self.line + self.text.count("\n", 0, position - 1)


def split_statements(text: str, first_line: int = 1) -> tuple[SqlStatement, ...]:
    """Return the statements of a text whose first line has this number in its file."""
    found: list[SqlStatement] = []
    start: int | None = None
    end = depth = 0
    words: list[str] = []

    def finish() -> None:
        nonlocal start, depth
        if start is not None:
            line = first_line + text.count("\n", 0, start)
            found.append(SqlStatement(text[start:end], line, tuple(words[:WORDS_KEPT])))
        start, depth = None, 0
        words.clear()

    for kind, at, after in _tokens(text, first_line):
        if kind in ("space", "comment"):
            continue
        piece = text[at:after]
        if piece == ";" and depth == 0:
            finish()
            continue
        start = at if start is None else start
        end = after
        if kind == "word":
            words.append(piece.lower())
            depth += _atomic_body_step(words, depth)
        elif piece in ("(", ")"):
            depth = max(0, depth + (1 if piece == "(" else -1))
    finish()
    return tuple(found)


def _tokens(text: str, first_line: int) -> Iterator[tuple[str, int, int]]:
    """Yield (kind, start, end) of each token; comments nest and dollar bodies are one token."""
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        assert match is not None, "the last alternative takes any character"  # noqa: S101 - a fact about TOKEN
        kind = match.lastgroup or "other"
        after = match.end()
        if kind == "block":
            kind, after = "comment", _end_of_block_comment(text, at)
        elif kind == "dollar":
            closing = text.find(match[0], after)
            after = closing + len(match[0]) if closing >= 0 else -1
        elif kind in ("escaped", "string", "quoted") and not match[f"{kind}_end"]:
            after = -1
        if after < 0:
            what = {"comment": "a comment", "dollar": f"the body that starts with {match[0]}"}.get(kind, "a quote")
            raise UnreadableSql(f"{what} is never closed", first_line + text.count("\n", 0, at))
        yield kind, at, after
        at = after


def _end_of_block_comment(text: str, at: int) -> int:
    depth = 0
    for edge in BLOCK_COMMENT_EDGE.finditer(text, at):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return -1


def _atomic_body_step(words: list[str], depth: int) -> int:
    """Tell how the word just read changes the depth inside a function body written as BEGIN ATOMIC … END.

    CASE … END may stand in such a body, so CASE counts there; psql reads it the same way.
    """
    makes_routine = words[:1] == ["create"] and ({"function", "procedure"} & set(words[1:4]))
    if not makes_routine:
        return 0
    if words[-2:] == ["begin", "atomic"] or (words[-1] == "case" and depth > 0):
        return 1
    return -1 if words[-1] == "end" and depth > 0 else 0
