"""What may be told of an app's answer in a log.

An answer often repeats what was sent: the payment with the payer's name, or the token that the app wants to see in a
header. So each word of the answer that was also in the request is left out, and each that is not plain ASCII.
"""

import re
from collections.abc import Iterable

MOST_CHARACTERS = 160
LEAST_WORD = 3  # shorter ones tell nothing
LEFT_OUT = "…"

_WORD = re.compile(r"\w+")
_CUT_WORD = re.compile(r"\w+$")
_ESCAPED = re.compile(r"\\+u([0-9A-Fa-f]{4})|\\+[bfnrt]?|%[0-9A-Fa-f]{2}")


def safe_excerpt(answered: bytes, sent: Iterable[bytes]) -> str:
    """Return the beginning of an answer on one line, without the words that were sent."""
    known = {word.casefold() for each in sent for word in _WORD.findall(_plain(each))}

    def replaced(match: re.Match[str]) -> str:
        word = match[0]
        return word if word.isascii() and (len(word) < LEAST_WORD or word.casefold() not in known) else LEFT_OUT

    text = _plain(answered)
    beginning = text[: 2 * MOST_CHARACTERS]
    if len(beginning) < len(text):
        beginning = _CUT_WORD.sub("", beginning)  # half a word would not be recognised
    spaced = " ".join(_WORD.sub(replaced, beginning).split())
    shown = "".join(each for each in spaced if " " <= each <= "~" or each == LEFT_OUT)
    return shown if len(shown) <= MOST_CHARACTERS else shown[: MOST_CHARACTERS - 1] + LEFT_OUT


def _plain(text: bytes) -> str:
    """Return text without the escapes of JSON and of URLs: the same word may come back in another dress."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)) if match[1] else " ", text.decode("utf-8", "replace"))
