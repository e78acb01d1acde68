"""Reads the JSON of a webhook strictly: one meaning or none.

Python's parser is generous where others are not. It takes NaN, keeps the last of two equal keys, reads 0.1 as a float,
passes lone surrogates and NUL, which Postgres cannot store, and guesses UTF-16. A body on which two parsers could
disagree is refused here, so that nobody behind this line needs to think of it.
"""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from gatehouse.errors import RequestRefused

# The escapes that can put what is no text into a text; only a body that has one is searched further.
SUSPICIOUS_ESCAPE = re.compile(r"\\u(?:0000|d[89a-f])", re.I)
NO_TEXT = re.compile("[\x00\ud800-\udfff]")
MOST_EXPONENT = 308  # of a double; int(Decimal("1e999999999")) would fill the memory


def read_json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body holds, numbers with a point as Decimal; else raise RequestRefused."""
    try:
        text = body.decode()
        parsed = json.loads(
            text, parse_float=_exact_number, parse_constant=_no_number, object_pairs_hook=_object_of_different_keys
        )
    except RecursionError:
        raise _refused("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise _refused("it is not UTF-8") from None
    except ValueError as reason:  # also an integer of thousands of digits
        raise _refused(str(reason)) from None
    if not isinstance(parsed, dict):
        raise _refused("it is not an object")
    if SUSPICIOUS_ESCAPE.search(text) and _holds_no_text(parsed):
        raise _refused("a text in it holds NUL or half a character")
    return parsed


def _refused(reason: str) -> RequestRefused:
    return RequestRefused(f"the body is not JSON that we accept: {reason}", code="NOT_JSON")


def _exact_number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation as reason:
        raise ValueError("a number is out of range") from reason
    if number and abs(number.adjusted()) > MOST_EXPONENT:
        raise ValueError("a number is out of range")
    return number


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _object_of_different_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found


def _holds_no_text(parsed: dict[str, Any]) -> bool:
    waiting: list[Any] = [parsed]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.keys()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and NO_TEXT.search(value):
            return True
    return False
