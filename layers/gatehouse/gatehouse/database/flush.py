"""Several statements, one network flush, one Sync.

A transaction pooler hands the server connection to the next client at every Sync outside a transaction. A driver that
sends Parse, Describe and Bind with a Sync each may have its Bind executed as another client's statement: pg8000 does,
and nine of ten answers were wrong when eight clients shared three connections. Here Parse, Bind, Describe, Execute of
every statement go out together and end in a single Sync, so they reach one server as one implicit transaction.

The order is Parse, Bind, Describe, Execute per statement, never all Parses first: a statement's snapshot is taken at
its Bind, after the statement before it was executed, so a lock taken by the first lets the second see what a
neighbour committed meanwhile.

Parameters travel as text (bytes as they are), results come as text; the server infers parameter types.
"""

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from struct import Struct
from types import NoneType
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from gatehouse.database.sql import Bound, Json
from gatehouse.errors import QueryError, ValidationError

Row = dict[str, Any]


class Result(NamedTuple):
    """What one statement answered."""

    rows: list[Row]
    row_count: int  # rows returned, or rows changed
    tag: str  # the server's own word for it, such as `INSERT 0 1`


class Wire(Protocol):
    """A connection that has logged in and is idle."""

    def send(self, data: bytes, *, ends_with_sync: bool) -> None: ...
    def receive(self) -> bytes: ...


class Reply(NamedTuple):
    """Everything up to ReadyForQuery."""

    results: list[Result]  # of the statements before the one that failed, if one did
    error: dict[str, str] | None  # the fields of the ErrorResponse
    status: bytes  # I: idle, T: in a transaction, E: in a failed one
    is_last_word: bool  # nothing came after ReadyForQuery


# A server that waits for us to read its answers does not read our next statements. So a flush of very many leaves in
# pieces that fit into the network's buffers, each answered before the next is sent; the only Sync still ends the last.
STATEMENTS_IN_ONE_PIECE = 50
PIECE_BYTES = 65_536

_SYNC = b"S\0\0\0\4"
_FLUSH = b"H\0\0\0\4"
_DESCRIBE_AND_EXECUTE = b"D\0\0\0\6P\0" + b"E\0\0\0\x09\0\0\0\0\0"


def exchange(wire: Wire, bounds: Sequence[Bound]) -> Reply:
    """Send the statements with one Sync at the end, and read every answer."""
    # All of it is encoded first: a value that we refuse is known before anything was sent.
    messages = [_messages(bound) for bound in bounds]
    answers = _Answers(wire.receive)
    *pieces, last = _pieces(messages)
    answered = 0
    for piece in pieces:
        wire.send(b"".join((*piece, _FLUSH)), ends_with_sync=False)
        answered += len(piece)
        answers.read(statements=answered)
        if answers.error:
            last = []
            break
    wire.send(b"".join((*last, _SYNC)), ends_with_sync=True)
    answers.read(statements=None)
    if not answers.error and len(answers.results) != len(bounds):
        raise ConnectionAbortedError(f"{len(bounds)} statements got {len(answers.results)} answers")
    return Reply(answers.results, answers.error, answers.status, answers.is_read_up())


def exchange_script(wire: Wire, script: str) -> Reply:
    """Send SQL text as it is, by the simple protocol, and read whether it worked; rows are not kept.

    Only for a direct session: it is the one way to run what must not be inside a transaction, such as VACUUM.
    """
    data = script.encode() + b"\0"
    wire.send(b"Q" + (len(data) + 4).to_bytes(4) + data, ends_with_sync=True)
    answers = _Answers(wire.receive)
    while answers.status == b"":
        code, content = answers.next_message()
        if code == b"E":
            answers.error = answers.error or read_error(content)
        elif code == b"G":  # COPY … FROM STDIN: there is nothing to copy, and the server waits for it
            reason = b"there is no file to copy from here\0"
            wire.send(b"f" + (len(reason) + 4).to_bytes(4) + reason, ends_with_sync=True)
        elif code == b"Z":
            answers.status = content
    return Reply([], answers.error, answers.status, answers.is_read_up())


def _pieces(messages: list[bytes]) -> list[list[bytes]]:
    """Return the messages in order, in one piece unless they are very many."""
    if len(messages) <= STATEMENTS_IN_ONE_PIECE:
        return [messages]
    pieces: list[list[bytes]] = [[]]
    held = 0
    for message in messages:
        if pieces[-1] and held + len(message) > PIECE_BYTES:
            pieces.append([])
            held = 0
        pieces[-1].append(message)
        held += len(message)
    return pieces


# --- what we send -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def _parse_message(text: str) -> bytes:
    body = b"\0" + text.encode() + b"\0" + b"\0\0"
    return b"P" + (len(body) + 4).to_bytes(4) + body


def _messages(bound: Bound) -> bytes:
    values = bound.values
    if bytes in map(type, values):  # one format code per parameter: 1 is binary
        formats = len(values).to_bytes(2) + b"".join(b"\0\1" if type(value) is bytes else b"\0\0" for value in values)
    else:
        formats = b"\0\0"
    parts = [b"\0\0", formats, len(values).to_bytes(2)]
    for position, value in enumerate(values):
        if value is None:
            parts.append(b"\xff\xff\xff\xff")
            continue
        try:
            data = (_ENCODERS.get(type(value)) or _encoder(value))(value)
        except (ValueError, TypeError) as reason:
            name = bound.statement.name
            raise ValidationError(
                f"{name}: parameter {bound.statement.parameters[position]} {_why(reason)}", statement=name
            ) from None
        parts.append(len(data).to_bytes(4))
        parts.append(data)
    parts.append(b"\0\0")
    body = b"".join(parts)
    return b"".join(
        (_parse_message(bound.statement.text), b"B", (len(body) + 4).to_bytes(4), body, _DESCRIBE_AND_EXECUTE)
    )


def _why(reason: Exception) -> str:
    # A UnicodeError quotes the text it could not encode.
    return "holds half a character (a lone surrogate)" if isinstance(reason, UnicodeError) else str(reason)


def _encode_datetime(value: datetime) -> bytes:
    if value.tzinfo is None:
        raise ValueError("is a time without a time zone")
    return value.isoformat().encode()


def _encode_json(value: Any) -> bytes:
    try:
        return json.dumps(
            value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_json_text
        ).encode()
    except RecursionError:
        raise ValueError("is nested too deeply for JSON") from None


def _json_text(value: Any) -> str:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, UUID | Decimal):
        return str(value)
    raise TypeError(f"holds a {type(value).__name__}, which JSON does not know")


_is_plain_word = re.compile(r"\w+", re.ASCII).fullmatch


def _encode_list(value: list[Any]) -> bytes:
    kinds = set(map(type, value))
    if kinds <= {int, NoneType}:  # reports hand over numbers, times and words by the thousand, with nothing to escape
        return f"{{{','.join(map(str, value))}}}".replace("None", "NULL").encode()
    if kinds == {datetime} and all(each.tzinfo for each in value):
        return f"{{{','.join(map(datetime.isoformat, value))}}}".encode()
    if kinds == {str} and all(map(_is_plain_word, value)):
        return f'{{"{'","'.join(value)}"}}'.encode()
    return f"{{{','.join(map(_element, value))}}}".encode()


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, dict | Json):
        raise TypeError("is a list of JSON values: wrap the whole list in Json(…)")
    if isinstance(value, list | bytes):
        raise TypeError(f"holds a {type(value).__name__} inside a list")
    text = (_ENCODERS.get(type(value)) or _encoder(value))(value).decode()
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _encode_float(_: float) -> bytes:
    raise TypeError("is a float, which cannot hold money: use int minor units or Decimal")


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    str: str.encode,
    int: lambda value: b"%d" % value,
    bool: lambda value: b"t" if value else b"f",
    bytes: bytes,
    dict: _encode_json,
    Json: lambda wrapped: _encode_json(wrapped.value),
    list: _encode_list,
    Decimal: lambda value: str(value).encode(),
    datetime: _encode_datetime,
    date: lambda value: value.isoformat().encode(),
    UUID: lambda value: str(value).encode(),
    float: _encode_float,
}


def _encoder(value: Any) -> Callable[[Any], bytes]:
    """Return the encoder of a subclass, such as a StrEnum."""
    for kind in (str, int, datetime):
        if isinstance(value, kind):
            return _ENCODERS[kind]
    raise TypeError(f"is a {type(value).__name__}, which has no form in the database")


# --- what we read -----------------------------------------------------------------------------------------------

Decoder = Callable[[bytes], Any]
Columns = tuple[tuple[str, Decoder], ...]

_integer = Struct("!i").unpack_from
_message_head = Struct("!cI").unpack_from
_column_type = Struct("!I").unpack_from


class _Answers:
    """Reads messages and keeps what they say."""

    __slots__ = ("_buffer", "_columns", "_position", "_receive", "_rows", "error", "results", "status")

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self._buffer = b""
        self._position = 0
        self._columns: Columns = ()
        self._rows: list[Row] = []
        self.results: list[Result] = []
        self.error: dict[str, str] | None = None
        self.status = b""

    def read(self, statements: int | None) -> None:
        """Read until so many statements are done or one failed; with None, until ReadyForQuery."""
        # What `next_message` does is written out here: a call per message costs 9 µs of the 75 that a flush takes.
        buffer, position = self._buffer, self._position
        while self.status == b"":
            if len(buffer) < position + 5:
                buffer, position = self._fill(position, 5), 0
            code, length = _message_head(buffer, position)
            if len(buffer) <= position + length:
                buffer, position = self._fill(position, length + 1), 0
            start, position = position + 5, position + 1 + length
            if code == b"1" or code == b"2":  # parsed, bound
                continue
            if code == b"D":
                self._rows.append(_read_row(buffer, start, self._columns))
            elif code == b"T":
                self._columns = _read_columns(buffer[start:position])
            elif code == b"C":
                self._finish_statement(buffer[start : position - 1].decode())
            elif code == b"Z":
                self.status = buffer[start:position]
            else:
                self._read_rare(code, buffer[start:position])
            if statements is not None and (self.error or len(self.results) == statements):
                break
        self._position = position

    def _read_rare(self, code: bytes, content: bytes) -> None:
        if code == b"E":
            # After a farewell (57P01) the hang-up follows: the first error is the one that says why.
            self.error = self.error or read_error(content)
        elif code == b"I":  # the statement was empty
            self._finish_statement("")
        elif code in b"GHW":
            raise QueryError("COPY needs a conversation of its own, a flush cannot hold it")
        elif code not in b"nNSA":  # no columns; notice, parameter status, notification
            raise ConnectionAbortedError(f"the server sent {code!r}, which is no answer to a flush")

    def is_read_up(self) -> bool:
        """Tell whether nothing was received beyond what was read."""
        return self._position == len(self._buffer)

    def _finish_statement(self, tag: str) -> None:
        words = tag.split()
        count = int(words[-1]) if words and words[-1].isdigit() else 0
        self.results.append(Result(self._rows, count, tag))
        self._rows = []
        self._columns = ()

    def next_message(self) -> tuple[bytes, bytes]:
        """Return the next message, whatever it is: its code and its content."""
        buffer = self._fill(self._position, 5)
        code, length = _message_head(buffer)
        buffer = self._fill(0, length + 1)
        self._position = length + 1
        return code, buffer[5 : length + 1]

    def _fill(self, position: int, needed: int) -> bytes:
        """Drop what lies before the position, receive until so many bytes follow it, and return them."""
        chunks = [self._buffer[position:]]
        held = len(chunks[0])
        while held < needed:
            chunk = self._receive()
            if not chunk:
                raise HungUp(self.error)
            chunks.append(chunk)
            held += len(chunk)
        self._buffer = b"".join(chunks)
        return self._buffer


class HungUp(OSError):
    """The server closed the connection; `fields` holds its farewell, where it gave one."""

    def __init__(self, fields: dict[str, str] | None) -> None:
        super().__init__("the server hung up before it had answered")
        self.fields = fields


def _read_row(data: bytes, position: int, columns: Columns) -> Row:
    row: Row = {}
    position += 2  # the number of columns, which the description gave already
    for name, decode in columns:
        length = _integer(data, position)[0]
        position += 4
        if length < 0:
            row[name] = None
        else:
            end = position + length
            row[name] = decode(data[position:end])
            position = end
    return row


@lru_cache(maxsize=512)
def _read_columns(description: bytes) -> Columns:
    columns: list[tuple[str, Decoder]] = []
    position = 2
    while position < len(description):
        end = description.index(0, position)
        # after the name: table (4 bytes), column (2), type (4), size (2), modifier (4), format (2)
        type_id = _column_type(description, end + 7)[0]
        columns.append((description[position:end].decode(), _DECODERS.get(type_id, bytes.decode)))
        position = end + 19
    names = [name for name, _ in columns]
    if len(set(names)) != len(names):
        raise QueryError(f"two columns of the result have one name, say AS: {', '.join(names)}")
    return tuple(columns)


def read_error(data: bytes) -> dict[str, str]:
    """Return the fields of an ErrorResponse."""
    fields = data.decode(errors="replace").split("\0")
    return {field[0]: field[1:] for field in fields if field}


def _decode_bytes(data: bytes) -> bytes:
    if data[:2] != b"\\x":
        raise ValueError("bytes came in the old escape format: bytea_output must be hex")
    return bytes.fromhex(data[2:].decode())


def _decode_moment(data: bytes) -> datetime | str:
    """Return the time in UTC; `infinity` and years that Python does not know stay text, and may be sent as such."""
    text = data.decode()
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return text


def _decode_timestamp(data: bytes) -> datetime | str:
    text = data.decode()
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text


def _decode_date(data: bytes) -> date | str:
    text = data.decode()
    try:
        return date.fromisoformat(text)
    except ValueError:
        return text


def _array_of(decode: Decoder) -> Decoder:
    def decode_array(data: bytes) -> list[Any]:
        text = data.decode()
        # An array whose first index is not 1 says so: [0:1]={a,b}
        return read_array(text, text.index("{") + 1, decode)[0]

    return decode_array


def read_array(text: str, position: int, decode: Decoder) -> tuple[list[Any], int]:
    """Read the elements of an array's text after an opening brace; return them and where the closing one was passed."""
    elements: list[Any] = []
    while True:
        letter = text[position]
        if letter == "}":
            return elements, position + 1
        if letter == ",":
            position += 1
        elif letter == "{":
            inner, position = read_array(text, position + 1, decode)
            elements.append(inner)
        elif letter == '"':
            word, position = _read_quoted(text, position + 1)
            elements.append(decode(word.encode()))
        else:
            end = position
            while text[end] not in ",}":
                end += 1
            word = text[position:end]
            elements.append(None if word == "NULL" else decode(word.encode()))
            position = end


def _read_quoted(text: str, position: int) -> tuple[str, int]:
    letters: list[str] = []
    while text[position] != '"':
        if text[position] == "\\":
            position += 1
        letters.append(text[position])
        position += 1
    return "".join(letters), position + 1


_SCALARS: dict[int, tuple[int, Decoder]] = {  # type: (its array type, decoder); what is not here comes as text
    16: (1000, lambda data: data == b"t"),  # boolean
    17: (1001, _decode_bytes),  # bytea
    19: (1003, bytes.decode),  # name
    20: (1016, int),  # bigint
    21: (1005, int),  # smallint
    23: (1007, int),  # integer
    25: (1009, bytes.decode),  # text
    26: (1028, int),  # oid
    114: (199, json.loads),  # json
    700: (1021, float),  # real
    701: (1022, float),  # double precision
    1042: (1014, bytes.decode),  # char(n)
    1043: (1015, bytes.decode),  # varchar
    1082: (1182, _decode_date),  # date
    1114: (1115, _decode_timestamp),  # timestamp, without a zone
    1184: (1185, _decode_moment),  # timestamptz
    1700: (1231, lambda data: Decimal(data.decode())),  # numeric
    2950: (2951, lambda data: UUID(data.decode())),  # uuid
    3802: (3807, json.loads),  # jsonb
}
_DECODERS: dict[int, Decoder] = {
    **{type_id: decode for type_id, (_, decode) in _SCALARS.items()},
    **{array_id: _array_of(decode) for array_id, decode in _SCALARS.values()},
}
