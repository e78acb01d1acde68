"""What is told of an app's answer: enough to understand it, and nothing of what was sent."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.forwarding.excerpt import MOST_CHARACTERS, safe_excerpt

pytestmark = pytest.mark.req("R3", "M9")

SENT = b'{"name": "Jane O\\u0027Brien", "note": "first\\nDiagnosis", "email": "jane@example.com", "amount": 4620}'


@pytest.mark.parametrize(
    ("answered", "shown"),
    [
        (b"", ""),
        (b"invalid signature", "invalid signature"),
        (b'{"error":\r\n\t"no such route"}', '{"error": "no such route"}'),
        (b"unknown payer Jane O'Brien", "unknown payer … O'…"),
        (b"unknown payer JANE O\\u0027BRIEN", "unknown payer … O'…"),
        (b"cannot read first\\nDiagnosis", "cannot read … …"),
        (b"cannot read jane%40example.com of 4620", "cannot read … ….… of …"),
        ("caf\u00e9 \u2028 \x1b[31mred".encode(), "… [31mred"),
        (b"\xff\xfe\x00binary", "binary"),
        (b"token t0ken-s3cret is wrong", "token …-… is wrong"),
    ],
)
def test_on_one_line_without_what_was_sent(answered: bytes, shown: str) -> None:
    assert safe_excerpt(answered, [SENT, b"Bearer t0ken-s3cret"]) == shown


def test_a_long_answer_is_cut() -> None:
    shown = safe_excerpt(b"word " * 1000, [SENT])
    assert len(shown) == MOST_CHARACTERS
    assert shown == ("word " * 40)[: MOST_CHARACTERS - 1] + "…"


def test_a_word_that_the_cut_goes_through_is_not_told() -> None:
    padding = b"-" * (2 * MOST_CHARACTERS - 4)
    assert "Diag" not in safe_excerpt(padding.replace(b"-", b" ") + b"Diagnosis", [SENT])


@settings(deadline=None, derandomize=True, max_examples=100, database=None)
@given(words=st.lists(st.from_regex(r"[A-Za-z0-9]{3,12}", fullmatch=True), min_size=1, max_size=6), noise=st.binary())
def test_no_word_that_was_sent_is_ever_told(words: list[str], noise: bytes) -> None:
    sent = " ".join(words).encode()
    shown = safe_excerpt(noise + b" " + sent + b" " + noise, [sent])
    told = "".join(each if each.isalnum() or each == "_" else " " for each in shown).casefold().split()
    assert not set(told) & {word.casefold() for word in words}
    assert "\n" not in shown
