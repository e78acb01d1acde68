"""Which headers of its own an app may ask for, such as an `authorization` that its gate wants to see.

Refused are those that say where a request ends or who is asked (a request could be smuggled behind another), those that
speak of one connection, and those that are ours to say. We send no `authorization`, so that one is the app's.
"""

import re
from collections.abc import Mapping

from gatehouse.errors import HeaderRefused

MOST_HEADERS = 20
MOST_NAME_CHARACTERS = 64
MOST_VALUE_CHARACTERS = 4096

FRAMING = {"content-encoding", "content-length", "content-type", "expect", "host", "transfer-encoding"}
OF_ONE_CONNECTION = {"connection", "http2-settings", "keep-alive", "te", "trailer", "upgrade"}
OURS = {"accept", "accept-encoding", "user-agent", "x-router-source"}
PREFIXES = ("proxy-", "webhook-", "x-gatehouse-")

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return an app's own headers with their names in lower case; raise HeaderRefused for one that cannot be sent."""
    if len(headers) > MOST_HEADERS:
        raise HeaderRefused(f"there are more than {MOST_HEADERS} headers")
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if len(name) > MOST_NAME_CHARACTERS or not _NAME.fullmatch(name):
            raise HeaderRefused(f"{name[:MOST_NAME_CHARACTERS]!r} is no name of a header")
        lower = name.lower()
        if lower in FRAMING | OF_ONE_CONNECTION | OURS or lower.startswith(PREFIXES):
            raise HeaderRefused(f"the header {lower} is not the app's to choose")
        if lower in checked:
            raise HeaderRefused(f"the header {lower} is there twice")
        checked[lower] = checked_value(lower, value)
    return checked


def checked_value(name: str, value: str) -> str:
    """Return a header's value; raise HeaderRefused, which does not show it, when it would not arrive as it is."""
    if len(value) > MOST_VALUE_CHARACTERS or not _VALUE.fullmatch(value):
        raise HeaderRefused(
            f"the value of the header {name} is empty, begins or ends with a space, has more than "
            f"{MOST_VALUE_CHARACTERS} characters, or one that is not plain ASCII"
        )
    return value
