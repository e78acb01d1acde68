"""SQL kept as SQL: files of named statements, each headed by its name and a sentence.

    -- name: find_payment
    -- Find a payment by any name that its gateway knows it by.
    SELECT * FROM payments WHERE id = :payment_id::bigint;

A placeholder is a colon and a lower-case name. Text in quotes, comments, `::casts` and array slices such as `a[b:c]`
hold none. The server infers each parameter's type from its place, so write a cast where the place does not say.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple


class Bound(NamedTuple):
    """A statement with the values of its parameters, ready to be sent."""

    statement: "Statement"
    values: list[Any]


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement; call it with its parameters to bind them."""

    name: str
    sentence: str
    text: str  # placeholders are $1, $2, … in the order of `parameters`
    parameters: tuple[str, ...]

    def __call__(self, /, **values: Any) -> Bound:
        """Bind every parameter by name; raise TypeError for one that is missing or unknown."""
        try:
            bound = list(map(values.__getitem__, self.parameters))
        except KeyError:
            bound = []
        if len(values) != len(bound) or len(bound) != len(self.parameters):
            missing = ", ".join(sorted(set(self.parameters) - set(values))) or "none"
            unknown = ", ".join(sorted(set(values) - set(self.parameters))) or "none"
            raise TypeError(f"{self.name}: missing parameters: {missing}; unknown parameters: {unknown}")
        return Bound(self, bound)


@dataclass(frozen=True, slots=True)
class Json:
    """A value to be sent as JSON; a dict needs no wrapping, but a list does, as it could also be an array."""

    value: Any


class Statements(Mapping[str, Statement]):
    """The statements of one file, by attribute or by key."""

    def __init__(self, file_name: str, statements: dict[str, Statement]) -> None:
        self._file_name = file_name
        self._statements = statements

    def __getattr__(self, name: str) -> Statement:
        try:
            return self._statements[name]
        except KeyError:
            raise AttributeError(f"{self._file_name} has no statement named {name}") from None

    def __getitem__(self, name: str) -> Statement:
        return self._statements[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._statements)

    def __len__(self) -> int:
        return len(self._statements)


def load_statements(file: Path) -> Statements:
    """Read a file of statements; raise ValueError that names the file and what is wrong with it."""
    found: dict[str, Statement] = {}
    header, *sections = re.split(r"^-- name:", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    try:
        if any(line.strip() and not line.startswith("--") for line in header.splitlines()):
            raise ValueError("SQL stands before the first `-- name:`")
        for section in sections:
            statement = _read_section(section)
            if statement.name in found:
                raise ValueError(f"{statement.name} is there twice")
            found[statement.name] = statement
    except ValueError as reason:
        raise ValueError(f"{file.name}: {reason}") from None
    return Statements(file.name, found)


def _read_section(section: str) -> Statement:
    heading, *lines = section.splitlines()
    name = heading.strip()
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
        raise ValueError(f"{name!r} is not a name")
    after = next((n for n, line in enumerate(lines) if not line.startswith("--")), len(lines))
    sentence = " ".join(line.removeprefix("--").strip() for line in lines[:after])
    if not sentence:
        raise ValueError(f"{name} has no sentence that says what it does")
    text, parameters = _number_placeholders("\n".join(lines[after:]).strip().removesuffix(";").rstrip())
    if not text:
        raise ValueError(f"{name} has no SQL")
    return Statement(name, sentence, text, parameters)


@lru_cache(maxsize=256)
def unnamed(text: str) -> Statement:
    """Make a statement of SQL that stands in code; errors call it `unnamed`, as its text may hold values."""
    return Statement("unnamed", "", *_number_placeholders(text))


_TOKEN = re.compile(
    r"""
      (?<!\w)[eE]'(?:[^'\\]|\\.|'')*'                                  # escape string
    | '(?:[^']|'')*'                                                   # string
    | "(?:[^"]|"")*"                                                   # identifier
    | (?<!\w)\$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?\$(?P=tag)\$             # dollar-quoted string
    | --[^\n]*                                                         # comment
    | (?P<comment>/\*)                                                 # comment, may be nested
    | ::                                                               # cast
    | (?P<number>(?<!\w)\$\d+)
    | (?<![\w:]):(?P<name>[a-z_][a-z0-9_]*)
    """,
    re.VERBOSE | re.DOTALL,
)


def _number_placeholders(text: str) -> tuple[str, tuple[str, ...]]:
    """Replace each `:name` by its number; return the text and the names in order."""
    parameters: dict[str, int] = {}
    pieces: list[str] = []
    position = 0
    while token := _TOKEN.search(text, position):
        end = token.end()
        pieces.append(text[position : token.start()])
        if token["number"]:
            raise ValueError(f"{token['number']} is not a placeholder here: give it a :name")
        if token["comment"]:
            end = _end_of_comment(text, token.start())
        if name := token["name"]:
            pieces.append(f"${parameters.setdefault(name, len(parameters) + 1)}")
        else:
            pieces.append(text[token.start() : end])
        position = end
    return "".join(pieces) + text[position:], tuple(parameters)


def _end_of_comment(text: str, start: int) -> int:
    depth = 0
    for mark in re.compile(r"/\*|\*/").finditer(text, start):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(text)
