"""Events and answers of payload format 2.0, field by field."""

import base64
import json
from typing import Any

import pytest

from local.api_gateway_event import (
    BadTarget,
    HttpAnswer,
    answer_of_function,
    api_gateway_event,
    failed_answer,
    read_target,
)
from local.http_connection import HttpMessage

pytestmark = pytest.mark.req("O2", "D4")


def event_of(
    target: str = "/", *, method: str = "POST", headers: list[tuple[str, str]] | None = None, body: bytes = b""
) -> dict[str, Any]:
    """Return the event of one request that came from 192.0.2.7 on 12 March 2020."""
    return api_gateway_event(
        HttpMessage(method, target, headers or [("host", "127.0.0.1:8080")], body, keeps_alive=True),
        read_target(target),
        route_key="POST /hooks/{token}",
        path_parameters={},
        source_ip="192.0.2.7",
        port=8080,
        request_id="JKJaXmPLvHcESHA=",
        now=1583953438.5,
    )


def test_the_whole_event() -> None:
    headers = [
        ("host", "hooks.example.com:8080"),
        ("user-agent", "Stripe/1.0"),
        ("content-type", "application/json; charset=utf-8"),
        ("x-many", "one"),
        ("cookie", "a=1; b=2"),
        ("x-many", "two"),
        ("cookie", "c=3"),
        ("connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
    ]
    assert event_of("/hooks/a%20b?x=1&y=a%2Cb&x=2&z=&w=p+q", headers=headers, body='{"é": 1}'.encode()) == {
        "version": "2.0",
        "routeKey": "POST /hooks/{token}",
        "rawPath": "/hooks/a b",
        "rawQueryString": "x=1&y=a%2Cb&x=2&z=&w=p+q",
        "cookies": ["a=1", "b=2", "c=3"],
        "headers": {
            "host": "hooks.example.com:8080",
            "user-agent": "Stripe/1.0",
            "content-type": "application/json; charset=utf-8",
            "content-length": "9",
            "x-many": "one,two",
            "x-forwarded-for": "192.0.2.7",
            "x-forwarded-port": "8080",
            "x-forwarded-proto": "http",
        },
        "queryStringParameters": {"x": "1,2", "y": "a,b", "z": "", "w": "p q"},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "local",
            "domainName": "hooks.example.com",
            "domainPrefix": "hooks",
            "http": {
                "method": "POST",
                "path": "/hooks/a b",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "Stripe/1.0",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "POST /hooks/{token}",
            "stage": "$default",
            "time": "11/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1583953438500,
        },
        "body": '{"é": 1}',
        "isBase64Encoded": False,
    }


def test_what_has_no_value_is_left_out() -> None:
    event = event_of("/", method="GET")
    assert not {"body", "cookies", "queryStringParameters", "pathParameters"} & event.keys()
    assert (event["rawQueryString"], event["isBase64Encoded"]) == ("", False)


def test_a_forwarded_address_is_kept_before_ours() -> None:
    event = event_of(headers=[("x-forwarded-for", "198.51.100.1")])
    assert event["headers"]["x-forwarded-for"] == "198.51.100.1, 192.0.2.7"
    assert event["requestContext"]["http"]["sourceIp"] == "192.0.2.7"


@pytest.mark.parametrize(
    ("content_type", "body", "is_text"),
    [
        ("application/json", b'{"a":1}', True),
        ("Application/JSON;charset=utf-8", b"{}", True),
        ("application/problem+json", b"{}", True),
        ("text/plain", "grüß".encode(), True),
        ("application/xml", b"<a/>", True),
        ("application/javascript", b"1", True),
        ("application/json", b'{"a":"\xff"}', False),
        ("text/plain", b"\x80", False),
        ("application/x-www-form-urlencoded", b"a=1", False),
        ("application/octet-stream", bytes(range(256)), False),
        ("image/png", b"\x89PNG", False),
        ("", b"{}", False),
    ],
)
def test_text_comes_as_text_and_all_else_in_base64(content_type: str, body: bytes, is_text: bool) -> None:
    event = json.loads(
        json.dumps(event_of(headers=[("content-type", content_type)] if content_type else [], body=body))
    )
    assert event["isBase64Encoded"] is not is_text
    assert (event["body"].encode() if is_text else base64.b64decode(event["body"])) == body


def test_absolute_targets_are_read_as_their_path() -> None:
    assert read_target("http://hooks.example.com/a/b?c=1").path == "/a/b"
    assert read_target("http://hooks.example.com").path == "/"
    assert read_target("//a//b").path == "//a//b"


@pytest.mark.parametrize("target", ["/%", "/a%2", "/%zz", "/%ff", "/?a=%g1", "/?%c3=1", "*", "ftp://x/", "a/b", "/%+1"])
def test_targets_that_cannot_be_read(target: str) -> None:
    with pytest.raises(BadTarget):
        read_target(target)


JSON = ("content-type", "application/json")


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        ({"statusCode": 201, "headers": {"X-A": "b"}, "body": "ok"}, (201, [("x-a", "b")], b"ok")),
        ({"statusCode": "202", "cookies": ["a=1", "b=2"]}, (202, [("set-cookie", "a=1"), ("set-cookie", "b=2")], b"")),
        ({"statusCode": 200, "body": "AP8=", "isBase64Encoded": True}, (200, [], b"\x00\xff")),
        (
            {"statusCode": 200, "headers": {"Content-Length": 99, "a": True, "n": 5}},
            (200, [("a", "true"), ("n", "5")], b""),
        ),
        ("Hello", (200, [JSON], b"Hello")),
        ({"message": "é"}, (200, [JSON], '{"message": "é"}'.encode())),
        ([1, 2], (200, [JSON], b"[1, 2]")),
        (None, (200, [JSON], b"null")),
    ],
)
def test_answers_are_mapped_or_inferred(result: object, answer: tuple[int, list[tuple[str, str]], bytes]) -> None:
    status, headers, body = answer
    given = answer_of_function(json.dumps(result, ensure_ascii=False).encode())
    default = [("content-type", "text/plain; charset=utf-8")] if body and JSON not in headers else []
    assert given == HttpAnswer(status, headers + default, body)


@pytest.mark.parametrize(
    "result",
    [
        {"statusCode": "soon"},
        {"statusCode": 99},
        {"statusCode": None},
        {"statusCode": 200, "body": {"not": "text"}},
        {"statusCode": 200, "body": "no base64!", "isBase64Encoded": True},
        {"statusCode": 200, "headers": {"x": "a\r\nset-cookie: b"}},
        {"statusCode": 200, "headers": ["x"]},
        {"statusCode": 200, "body": "\ud800"},
    ],
)
def test_answers_that_mean_nothing_are_failures(result: object) -> None:
    assert answer_of_function(json.dumps(result).encode()) == failed_answer()


def test_a_payload_that_is_not_json_is_a_failure() -> None:
    assert answer_of_function(b"<html>") == failed_answer()
    assert failed_answer().status == 503
