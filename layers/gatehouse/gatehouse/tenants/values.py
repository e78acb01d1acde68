"""A value of Postgres as JSON, exactly: as text of JSON, so that no digit passes through a float on its way.

numeric is text; bigint is a number as far as JavaScript counts exactly, and text beyond; float is a number, NaN and
Infinity text; timestamps are ISO 8601; bytea is base64; json and jsonb are themselves; arrays are lists; all else is
Postgres's own text.
"""

import base64
import json
from collections.abc import Callable
from typing import Any

from gatehouse.database.flush import read_array

type Render = Callable[[str], str]

LARGEST_EXACT = 2**53 - 1  # in the numbers of JavaScript


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _bigint(value: str) -> str:
    return value if abs(int(value)) <= LARGEST_EXACT else f'"{value}"'


def _float(value: str) -> str:
    return _text(value) if value in ("NaN", "Infinity", "-Infinity") else json.dumps(float(value))


def _boolean(value: str) -> str:
    return "true" if value == "t" else "false"


def _bytes(value: str) -> str:
    if not value.startswith("\\x"):
        return _text(value)
    return f'"{base64.b64encode(bytes.fromhex(value[2:])).decode()}"'


def _moment(value: str) -> str:
    """Write `2026-05-15 10:00:00+00` as ISO has it; `infinity` and years before Christ stay as they are."""
    if value[4:5] != "-" or not value[:1].isdigit() or value.endswith("BC"):
        return _text(value)
    moment = value.replace(" ", "T", 1)
    if moment[-3] in "+-":
        moment += ":00"
    return _text(moment)


def _json(value: str) -> str:
    return value


_SCALARS: dict[int, tuple[str, int, Render]] = {  # type: its name, its array type, how it is written
    16: ("boolean", 1000, _boolean),
    17: ("bytea", 1001, _bytes),
    18: ("char", 1002, _text),
    19: ("name", 1003, _text),
    20: ("bigint", 1016, _bigint),
    21: ("smallint", 1005, _json),
    23: ("integer", 1007, _json),
    25: ("text", 1009, _text),
    26: ("oid", 1028, _json),
    114: ("json", 199, _json),
    650: ("cidr", 651, _text),
    700: ("real", 1021, _float),
    701: ("double precision", 1022, _float),
    829: ("macaddr", 1040, _text),
    869: ("inet", 1041, _text),
    1042: ("character", 1014, _text),
    1043: ("character varying", 1015, _text),
    1082: ("date", 1182, _text),
    1083: ("time", 1183, _text),
    1114: ("timestamp", 1115, _moment),
    1184: ("timestamp with time zone", 1185, _moment),
    1186: ("interval", 1187, _text),
    1266: ("time with time zone", 1270, _text),
    1560: ("bit", 1561, _text),
    1562: ("bit varying", 1563, _text),
    1700: ("numeric", 1231, _text),
    2950: ("uuid", 2951, _text),
    3614: ("tsvector", 3643, _text),
    3802: ("jsonb", 3807, _json),
}


def _array_of(render: Render) -> Render:
    def rendered(element: Any) -> str:
        if element is None:
            return "null"
        return f"[{','.join(map(rendered, element))}]" if isinstance(element, list) else str(element)

    def render_array(value: str) -> str:
        # An array whose first index is not 1 says so: [0:1]={a,b}
        return rendered(read_array(value, value.index("{") + 1, lambda data: render(data.decode()))[0])

    return render_array


TYPES: dict[int, tuple[str, Render]] = {
    **{each: (name, render) for each, (name, _, render) in _SCALARS.items()},
    **{array: (f"{name}[]", _array_of(render)) for name, array, render in _SCALARS.values()},
}
OTHER: tuple[str, Render] = ("other", _text)


def parameter(value: Any) -> bytes | None:
    """Return a value of JSON as Postgres reads it: a list of plain values is an array, an object is JSON."""
    if value is None:
        return None
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, list) and not any(isinstance(each, list | dict) for each in value):
        return f"{{{','.join(map(_element, value))}}}".encode()
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    return str(value).encode()


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    text = (parameter(value) or b"").decode()
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
