"""Which headers an app may ask for, and that none of them can become two, or another request."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.errors import HeaderRefused
from gatehouse.forwarding.app_headers import checked_headers

pytestmark = pytest.mark.req("R2")


def refusal(name: str, value: str = "x") -> str:
    with pytest.raises(HeaderRefused) as raised:
        checked_headers({name: value})
    return str(raised.value)


def test_an_apps_own_headers_go_along() -> None:
    own = {"Authorization": "Bearer t0ken", "X-Api-Key": 'a "b" ~', "cookie": "a=b; c=d"}
    assert checked_headers(own) == {"authorization": "Bearer t0ken", "x-api-key": 'a "b" ~', "cookie": "a=b; c=d"}


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "Content-Length", "content-type", "Content-Encoding", "Transfer-Encoding", "Expect"),
        *("Connection", "Keep-Alive", "Upgrade", "TE", "Trailer", "Proxy-Authorization", "Proxy-Connection"),
        *("webhook-id", "Webhook-Signature", "webhook-timestamp", "x-gatehouse-hop", "X-Gatehouse-Event"),
        *("user-agent", "X-Router-Source", "accept"),
    ],
)
def test_what_is_not_the_apps_to_choose(name: str) -> None:
    assert refusal(name) == f"the header {name.lower()} is not the app's to choose"


@pytest.mark.parametrize("name", ["", " ", "a b", "a:", "a\r\nhost", "é", "a\x00", "a" * 65, "x-a\n", "(x)"])
def test_what_is_no_name(name: str) -> None:
    assert "no name of a header" in refusal(name)


@pytest.mark.parametrize(
    "value", ["", " ", " s3cret", "s3cret ", "s3cret\r\nhost: x", "s3\ncret", "s3\x00", "s3crét", "s" * 4097]
)
def test_a_value_that_would_not_arrive(value: str) -> None:
    refused = refusal("x-key", value)
    assert "x-key" in refused
    assert not value.strip() or value not in refused


def test_twice_under_two_spellings_and_too_many() -> None:
    with pytest.raises(HeaderRefused, match="there twice"):
        checked_headers({"X-Key": "1", "x-key": "2"})
    with pytest.raises(HeaderRefused, match="more than 20"):
        checked_headers({f"x-{number}": "1" for number in range(21)})


@settings(deadline=None, derandomize=True, max_examples=100, database=None)
@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3))
def test_what_passes_is_one_line_each(headers: dict[str, str]) -> None:
    try:
        checked = checked_headers(headers)
    except HeaderRefused:
        return
    for name, value in checked.items():
        line = f"{name}: {value}"
        assert line.isascii()
        assert line.isprintable()
        assert line.splitlines() == [line]
