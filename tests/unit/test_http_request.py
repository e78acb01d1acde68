"""An API Gateway event as an HttpRequest: the exact bytes, or a clear refusal."""

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.errors import RequestRefused
from gatehouse.http_request import MOST_BODY_BYTES, answer, read_request

EVENT: dict[str, Any] = {
    "version": "2.0",
    "routeKey": "POST /webhooks/stripe/{account}",
    "rawPath": "/webhooks/stripe/shop",
    "rawQueryString": "a=1",
    "headers": {"Stripe-Signature": "t=1,v1=2", "content-type": "application/json"},
    "queryStringParameters": {"a": "1"},
    "pathParameters": {"account": "shop"},
    "requestContext": {
        "http": {"method": "POST", "path": "/webhooks/stripe/shop", "sourceIp": "192.0.2.1"},
        "requestId": "req-1",
        "timeEpoch": 1700000000123,
    },
    "body": "{}",
    "isBase64Encoded": False,
}
NOW = datetime(2026, 11, 20, tzinfo=UTC)


def refusal(**changes: object) -> RequestRefused:
    with pytest.raises(RequestRefused) as refused:
        read_request({**EVENT, **changes})
    return refused.value


def test_everything_that_an_event_says() -> None:
    request = read_request(EVENT)
    assert request._asdict() == {
        "method": "POST",
        "route_key": "POST /webhooks/stripe/{account}",
        "path": "/webhooks/stripe/shop",
        "headers": {"stripe-signature": "t=1,v1=2", "content-type": "application/json"},
        "body": b"{}",
        "source_ip": "192.0.2.1",
        "request_id": "req-1",
        "received_at": datetime(2023, 11, 14, 22, 13, 20, 123000, UTC),
        "path_parameters": {"account": "shop"},
        "query": {"a": "1"},
    }


@pytest.mark.parametrize(
    ("said", "content_type"),
    [
        (" text/plain ", "text/plain"),
        ("application/json; charset=utf-8", "application/json; charset=utf-8"),
        ("", "application/json"),
        ("a\r\nx-admin: yes", "application/json"),  # said again, it would be two headers
        ("tëxt", "application/json"),
        ("a" * 201, "application/json"),
    ],
)
def test_a_content_type_is_one_that_can_be_said_again(said: str, content_type: str) -> None:
    assert read_request({**EVENT, "headers": {"Content-Type": said}}).content_type == content_type


@pytest.mark.parametrize("event", [{}, {"requestContext": {}}, {"headers": None, "requestContext": None, "body": None}])
def test_what_is_missing_is_empty(event: dict[str, Any]) -> None:
    request = read_request(event, now=NOW)
    assert (request.method, request.headers, request.body, request.received_at) == ("", {}, b"", NOW)


@pytest.mark.parametrize("wrong", [7, "text", [], True, 1.5])
def test_what_has_another_type_is_empty(wrong: object) -> None:
    request = read_request({**dict.fromkeys(EVENT, wrong), "body": ""}, now=NOW)
    assert (request.method, request.headers, request.path_parameters, request.received_at) == ("", {}, {}, NOW)


@pytest.mark.parametrize("milliseconds", [0, -1, 10**18, "soon", None])
def test_an_arrival_that_is_no_time(milliseconds: object) -> None:
    assert read_request({"requestContext": {"timeEpoch": milliseconds}}, now=NOW).received_at == NOW


@pytest.mark.req("G1")
class TestBody:
    @settings(deadline=None, derandomize=True, database=None)
    @given(st.binary(max_size=300))
    def test_base64_gives_the_exact_bytes(self, body: bytes) -> None:
        event = {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
        assert read_request(event, now=NOW).body == body

    @settings(deadline=None, derandomize=True, database=None)
    @given(st.text(max_size=300))
    def test_text_gives_its_utf_8(self, body: str) -> None:
        assert read_request({"body": body}, now=NOW).body == body.encode()

    @pytest.mark.parametrize("body", ["{}", "a", "YQ", "YQ=", "Y Q=", "YQ==\n", "gr\u00fc\u00dfe", "YQ==YQ=="])
    def test_broken_base64(self, body: str) -> None:
        assert refusal(body=body, isBase64Encoded=True).code == "BODY_NOT_BASE64"

    @pytest.mark.parametrize("body", [7, {}, ["{}"], "\ud800"])
    def test_no_text(self, body: object) -> None:
        refused = refusal(body=body)
        assert (refused.code, refused.http_status) == ("BODY_NOT_TEXT", 400)

    @pytest.mark.parametrize("encode", [False, True])
    def test_as_large_as_is_allowed(self, encode: bool) -> None:
        body = "x" * MOST_BODY_BYTES
        sent = base64.b64encode(body.encode()).decode() if encode else body
        assert len(read_request({"body": sent, "isBase64Encoded": encode}).body) == MOST_BODY_BYTES

    @pytest.mark.parametrize("encode", [False, True])
    @pytest.mark.parametrize("character", ["x", "\u00fc"])
    def test_larger(self, encode: bool, character: str) -> None:
        body = "x" * (MOST_BODY_BYTES - 1) + character + character
        sent = base64.b64encode(body.encode()).decode() if encode else body
        refused = refusal(body=sent, isBase64Encoded=encode)
        assert (refused.code, refused.http_status) == ("BODY_TOO_LARGE", 413)


def test_a_request_shows_neither_body_nor_headers() -> None:
    assert repr(read_request(EVENT)) == "<HttpRequest POST /webhooks/stripe/{account} req-1 2 bytes>"


def test_an_answer_is_json_of_whatever_it_is_given() -> None:
    said = answer(200, {"status": "applied", "at": NOW, "amount": Decimal("1.50")})
    assert said["statusCode"] == 200
    assert said["headers"]["content-type"] == "application/json"
    assert json.loads(said["body"]) == {"status": "applied", "at": "2026-11-20 00:00:00+00:00", "amount": "1.50"}


@pytest.mark.parametrize("part", ["pathParameters", "queryStringParameters"])
def test_half_a_character_in_the_url_is_refused(part: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        read_request({part: {"account": "acme\ud800"}})
    assert (refused.value.code, refused.value.http_status) == ("URL_NOT_TEXT", 400)
