"""What is said on the wire for statements of a tenant's user: one transaction, rows in portions, nothing left behind.

    -> Query(BEGIN READ ONLY; SET LOCAL …)  Parse Bind Describe Execute(200 rows) Flush
    <- …                                    RowDescription DataRow… PortalSuspended
    -> Execute(200 rows) Flush              until all rows are there, or more than the caller may have
    -> Sync  Query(COMMIT)  Query(DISCARD ALL)      three messages in one flush, as everything that can be

A statement goes by the extended protocol, so Postgres itself refuses two in one text. Rows are turned into JSON as they
come and counted: what is beyond the caps is never asked for, and a row too large to be kept is not read into memory.
"""

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any, NamedTuple

from gatehouse.database.flush import read_error
from gatehouse.database.login import LoggedIn
from gatehouse.tenants.values import OTHER, TYPES, Render, parameter

ROWS_IN_A_PORTION = 200

_SYNC = b"S\0\0\0\4"
_FLUSH = b"H\0\0\0\4"
_head = Struct("!cI").unpack_from
_integer = Struct("!i").unpack_from
_column_type = Struct("!I").unpack_from


class Caps(NamedTuple):
    """How much a caller gets of one request."""

    rows: int
    bytes: int


class Spoken(NamedTuple):
    """One statement with its parameters, and what is set for it alone."""

    text: str
    parameters: Sequence[Any]
    settings: str  # SQL that is run before it: SET LOCAL …


class Heard(NamedTuple):
    """What one statement answered; rows are texts of JSON."""

    columns: list[tuple[str, str]]
    rows: list[str]
    row_count: int
    tag: str
    truncated: bool


class Refused(Exception):
    """The server refused a statement; `fields` are its words."""

    def __init__(self, fields: Mapping[str, str], number: int) -> None:
        super().__init__(fields.get("M", ""))
        self.fields = fields
        self.number = number  # of the statement, from 0; the number of statements for the COMMIT


class Broken(ConnectionAbortedError):
    """The conversation cannot go on; the connection is of no use any more."""


class TooLarge(Broken):
    """One row is larger than all that the caller may have."""


class Conversation:
    """One exchange over a connection that is idle, and is so again at the end, or is of no use."""

    def __init__(self, link: LoggedIn, caps: Caps) -> None:
        self._link = link
        self._caps = caps
        self._buffer = b""
        self._bytes_left = caps.bytes

    def hold(self, begin: str, statements: Sequence[Spoken]) -> list[Heard]:
        """Run statements in one transaction that begins so; all of them are kept, or none."""
        heard: list[Heard] = []
        before = b""
        for number, each in enumerate(statements):
            settings = _query(each.settings if heard else f"{begin}{each.settings}")
            most = min(ROWS_IN_A_PORTION, self._caps.rows + 1)
            self._say(before + settings + _bound(each) + _execute(most) + _FLUSH)
            try:
                if before:
                    self._until_ready()
                if fields := self._until_ready():
                    raise Refused(fields, number)
                heard.append(self._rows_of())
            except Refused as refused:
                self._end("ROLLBACK")
                raise Refused(refused.fields, number) from None
            before = _SYNC
        if fields := self._end("COMMIT"):
            raise Refused(fields, len(statements))
        return heard

    def _end(self, how: str) -> dict[str, str] | None:
        """Commit or undo, and forget all that the session holds: settings, locks, prepared statements."""
        self._say(_SYNC + _query(how) + _query("DISCARD ALL"))
        self._until_ready()
        refused = self._until_ready()
        if self._until_ready():
            raise Broken("the session cannot be cleaned")
        self._link.is_busy = bool(self._buffer)
        return refused

    def _rows_of(self) -> Heard:
        columns: list[tuple[str, str]] = []
        renders: list[tuple[str, Render]] = []
        rows: list[str] = []
        while True:
            code, content = self._message()
            if code == b"D":
                row = _row(content, renders)
                self._bytes_left -= len(row)
                if len(rows) >= self._caps.rows or (self._bytes_left < 0 and rows):
                    return self._cut_off(columns, rows)
                rows.append(row)
            elif code == b"T":
                columns, renders = _columns(content)
            elif code == b"C":
                tag = content[:-1].decode()
                last = tag.split()[-1] if tag else ""
                return Heard(columns, rows, int(last) if last.isdigit() else len(rows), tag, truncated=False)
            elif code == b"s":  # the portal is suspended: there are more rows
                self._say(_execute(min(ROWS_IN_A_PORTION, self._caps.rows - len(rows) + 1)) + _FLUSH)
            elif code == b"I":
                return Heard([], [], 0, "", truncated=False)
            elif code == b"E":
                raise Refused(read_error(content), 0)
            elif code in b"GHW":
                raise Broken("COPY is no statement for HTTP")
            elif code not in b"12nNSA":
                raise Broken(f"the server sent {code!r}, which is no answer")

    def _cut_off(self, columns: list[tuple[str, str]], rows: list[str]) -> Heard:
        """Let the rest of the portion pass by, which is on its way already; no more of it is asked for."""
        while (message := self._message())[0] not in (b"s", b"C"):
            if message[0] == b"E":
                raise Refused(read_error(message[1]), 0)
        return Heard(columns, rows, len(rows), "", truncated=True)

    def _until_ready(self) -> dict[str, str] | None:
        """Read to ReadyForQuery; return the fields of an error on the way."""
        refused: dict[str, str] | None = None
        while (message := self._message())[0] != b"Z":
            if message[0] == b"E":
                refused = refused or read_error(message[1])
        return refused

    def _say(self, data: bytes) -> None:
        self._link.send(data, ends_with_sync=data.endswith(_SYNC))

    def _message(self) -> tuple[bytes, bytes]:
        self._fill(5)
        code, length = _head(self._buffer)
        if code == b"D" and length > self._caps.bytes + 65_536:
            raise TooLarge(f"one row has {length} bytes")
        self._fill(length + 1)
        content = self._buffer[5 : length + 1]
        self._buffer = self._buffer[length + 1 :]
        return code, content

    def _fill(self, needed: int) -> None:
        chunks = [self._buffer]
        held = len(self._buffer)
        while held < needed:
            chunk = self._link.receive()
            if not chunk:
                raise Broken("the server hung up")
            chunks.append(chunk)
            held += len(chunk)
        if len(chunks) > 1:
            self._buffer = b"".join(chunks)


def _query(text: str) -> bytes:
    data = text.encode() + b"\0"
    return b"Q" + (len(data) + 4).to_bytes(4) + data


def _bound(spoken: Spoken) -> bytes:
    """Return Parse, Bind and Describe; the server infers the types of the parameters."""
    parse = b"\0" + spoken.text.encode() + b"\0\0\0"
    parts = [b"\0\0\0\0", len(spoken.parameters).to_bytes(2)]
    for value in spoken.parameters:
        data = parameter(value)
        parts.append(b"\xff\xff\xff\xff" if data is None else len(data).to_bytes(4) + data)
    bind = b"".join((*parts, b"\0\0"))
    return b"".join(
        (b"P", (len(parse) + 4).to_bytes(4), parse, b"B", (len(bind) + 4).to_bytes(4), bind, b"D\0\0\0\6P\0")
    )


def _execute(most: int = ROWS_IN_A_PORTION) -> bytes:
    return b"E\0\0\0\x09\0" + most.to_bytes(4)


def _columns(description: bytes) -> tuple[list[tuple[str, str]], list[tuple[str, Render]]]:
    """Return names and types, and how each is written; a name that came before gets a number."""
    columns: list[tuple[str, str]] = []
    renders: list[tuple[str, Render]] = []
    seen: set[str] = set()
    position = 2
    while position < len(description):
        end = description.index(0, position)
        told = description[position:end].decode(errors="replace")
        name, number = told, 2
        while name in seen:
            name, number = f"{told}_{number}", number + 1
        seen.add(name)
        type_name, render = TYPES.get(_column_type(description, end + 7)[0], OTHER)
        columns.append((name, type_name))
        renders.append((OTHER[1](name) + ":", render))
        position = end + 19
    return columns, renders


def _row(content: bytes, renders: Sequence[tuple[str, Render]]) -> str:
    parts: list[str] = []
    position = 2
    for name, render in renders:
        length = _integer(content, position)[0]
        position += 4
        if length < 0:
            parts.append(f"{name}null")
            continue
        parts.append(name + render(content[position : position + length].decode(errors="replace")))
        position += length
    return f"{{{','.join(parts)}}}"
