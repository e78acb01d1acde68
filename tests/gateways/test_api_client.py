"""What the clients of all gateways share, against an internet of our own making."""

import json
import math
import random
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from gatehouse.errors import GatewayError, GatewayKeyRefused, GatewayObjectMissing
from gatehouse.gateways.api_client import (
    FIRST_WAIT_SECONDS,
    MOST_ATTEMPTS,
    MOST_RETRY_AFTER_SECONDS,
    MOST_WAIT_SECONDS,
    ApiClient,
    Rate,
)

KEY = "sk_live_invented"
PATH = "/v1/things/1"

pytestmark = pytest.mark.req("G14", "G17")

type Answering = Callable[[httpx.Request], httpx.Response]


def words(_response: httpx.Response, said: Mapping[str, Any]) -> str:
    return str(said.get("code", "no code"))


class Lemonade:
    """A gateway that answers what it is told to, and the clock that its client looks at."""

    def __init__(self, *answers: Answering | httpx.Response, per_second: float = 1000.0) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.slept: list[float] = []
        self.now = 1000.0
        http = httpx.Client(
            base_url="https://lemonade.test",
            headers={"authorization": f"Bearer {KEY}"},
            transport=httpx.MockTransport(self.answer),
        )
        self.client = ApiClient(
            "Lemonade", http, words=words, per_second=per_second, clock=lambda: self.now, sleep=self.sleep
        )

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        return answer if isinstance(answer, httpx.Response) else answer(request)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def fails(self, method: str = "GET", **how: Any) -> GatewayError:
        """Ask, and return the error; whatever it is, it does not give the key away."""
        with pytest.raises(GatewayError) as raised:
            self.client.ask(method, PATH, **how)
        assert KEY not in "".join(traceback.format_exception(raised.value)) + repr(raised.value)
        return raised.value


def ok(**said: object) -> httpx.Response:
    return httpx.Response(200, json=said)


def refused(status: int, headers: dict[str, str] | None = None, **said: object) -> httpx.Response:
    return httpx.Response(status, json=said, headers=headers)


def silent(reason: type[httpx.TransportError] = httpx.ReadTimeout) -> Answering:
    def answer(request: httpx.Request) -> httpx.Response:
        raise reason("no answer", request=request)

    return answer


class TestAnswers:
    def test_the_object_and_when_it_was_said_by_the_gateways_clock(self) -> None:
        said = httpx.Response(200, json={"id": "1"}, headers={"date": "Wed, 21 Oct 2026 07:28:00 GMT"})
        gateway = Lemonade(said)
        answer = gateway.client.ask("GET", PATH, params={"expand[]": "all"}, headers={"x-account": "a"})
        assert answer == ({"id": "1"}, datetime(2026, 10, 21, 7, 28, tzinfo=UTC))
        (request,) = gateway.requests
        assert str(request.url) == f"https://lemonade.test{PATH}?expand%5B%5D=all"
        assert (request.headers["x-account"], request.headers["authorization"]) == ("a", f"Bearer {KEY}")

    @pytest.mark.parametrize("date", ["", "yesterday", "Wed, 99 Oct 2026 07:28:00 GMT"])
    def test_where_it_gives_no_time_ours_counts(self, date: str) -> None:
        answer = Lemonade(httpx.Response(200, json={}, headers={"date": date})).client.ask("GET", PATH)
        assert abs(datetime.now(UTC) - answer.answered_at) < timedelta(minutes=1)

    def test_no_number_is_ever_a_float(self) -> None:
        body = b'{"fee": 0.1, "list": [1.5, {"deep": 2e-3}], "count": 3}'
        said = Lemonade(httpx.Response(200, content=body)).client.ask("GET", PATH).said
        assert said == {"fee": Decimal("0.1"), "list": [Decimal("1.5"), {"deep": Decimal("0.002")}], "count": 3}
        waiting: list[Any] = [said]
        while waiting:
            each = waiting.pop()
            assert not isinstance(each, float)
            waiting += each.values() if isinstance(each, dict) else each if isinstance(each, list) else []

    @pytest.mark.parametrize("status", [200, 201, 204, 299])
    def test_every_kind_of_yes_is_one(self, status: int) -> None:
        assert Lemonade(httpx.Response(status, json={"id": 1})).client.ask("POST", PATH).said == {"id": 1}

    @pytest.mark.parametrize(
        "body",
        [
            *(b"", b'{"id": "1", "cut', b"<html>", b"[]", b'"text"', b"null", b"\xff", b"[" * 200_000),
            *(b'{"fee": NaN}', b'{"fee": 1e999999999}', b'{"fee": 1, "fee": 2}', b'{"name": "a\\u0000b"}'),
        ],
    )
    def test_what_is_no_json_object_with_one_meaning_is_no_answer(self, body: bytes) -> None:
        gateway = Lemonade(httpx.Response(200, content=body))
        assert gateway.fails().retry_helps is True
        assert len(gateway.requests) == MOST_ATTEMPTS


class TestRetries:
    @pytest.mark.parametrize("fault", [refused(500), refused(503), refused(429), refused(409), silent()])
    def test_what_is_safe_is_asked_again_until_it_is_answered(self, fault: Answering | httpx.Response) -> None:
        gateway = Lemonade(fault, fault, ok(id="1"))
        assert gateway.client.ask("GET", PATH).said == {"id": "1"}
        assert len(gateway.requests) == 3

    def test_three_times_in_all_and_with_growing_waits(self) -> None:
        gateway = Lemonade(refused(500))
        gateway.fails()
        assert len(gateway.requests) == MOST_ATTEMPTS == 3
        first, second = gateway.slept
        assert FIRST_WAIT_SECONDS * 0.8 <= first <= FIRST_WAIT_SECONDS * 1.2
        assert FIRST_WAIT_SECONDS * 1.6 <= second <= FIRST_WAIT_SECONDS * 2.4

    def test_no_two_wait_the_same(self) -> None:
        waits = set()
        for _ in range(5):
            random.seed(7)  # as in every environment of one snapshot
            gateway = Lemonade(refused(500))
            gateway.fails()
            waits.add(gateway.slept[0])
        assert len(waits) == 5

    @pytest.mark.parametrize("fault", [refused(500), refused(429), silent()])
    @pytest.mark.parametrize(
        ("method", "how"), [("POST", {}), ("PUT", {}), ("DELETE", {}), ("GET", {"is_safe": False})]
    )
    def test_what_might_be_done_twice_is_sent_once(
        self, fault: Answering | httpx.Response, method: str, how: dict[str, Any]
    ) -> None:
        gateway = Lemonade(fault, ok())
        assert gateway.fails(method, **how).retry_helps is True  # whoever asked may know more
        assert (len(gateway.requests), gateway.slept) == (1, [])

    def test_a_post_that_carries_its_own_key_is_sent_again(self) -> None:
        gateway = Lemonade(silent(), ok(id="1"))
        headers = {"idempotency-key": "7"}
        assert gateway.client.ask("POST", PATH, is_safe=True, headers=headers, json={"a": 1}).said == {"id": "1"}
        assert {request.headers["idempotency-key"] for request in gateway.requests} == {"7"}
        assert {request.content for request in gateway.requests} == {b'{"a":1}'}

    @pytest.mark.parametrize("status", [302, 400, 401, 402, 403, 404, 410, 422])
    def test_what_would_be_refused_again_is_not_asked_again(self, status: int) -> None:
        gateway = Lemonade(refused(status), ok())
        assert gateway.fails().retry_helps is False
        assert len(gateway.requests) == 1

    @pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 599])
    def test_these_may_pass(self, status: int) -> None:
        assert Lemonade(refused(status)).fails().retry_helps is True

    def test_a_gateways_own_word_on_retrying_goes_first(self) -> None:
        gateway = Lemonade(refused(500, {"stripe-should-retry": "false"}))
        assert (gateway.fails().retry_helps, len(gateway.requests)) == (False, 1)
        assert Lemonade(refused(402, {"stripe-should-retry": "true"}), ok(id="1")).client.ask("GET", PATH).said
        assert Lemonade(refused(500, {"stripe-should-retry": "perhaps"})).fails().retry_helps is True


class TestRetryAfter:
    def test_a_short_wait_is_kept_to_the_second(self) -> None:
        gateway = Lemonade(refused(429, {"retry-after": "2"}), ok(id="1"))
        assert gateway.client.ask("GET", PATH).said == {"id": "1"}
        assert gateway.slept == [2.0]

    def test_whoever_is_asked_to_wait_longer_gives_its_job_back(self) -> None:
        gateway = Lemonade(refused(429, {"retry-after": "3"}), ok())
        assert gateway.fails().retry_after_seconds == 3.0
        assert (len(gateway.requests), gateway.slept) == (1, [])
        assert MOST_WAIT_SECONDS < 3

    @pytest.mark.parametrize(
        ("said", "seconds"),
        [
            ("7", 7.0),
            ("999999", MOST_RETRY_AFTER_SECONDS),
            ("9" * 400, MOST_RETRY_AFTER_SECONDS),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
            ("\xb2", None),
            ("", None),
        ],
    )
    def test_what_it_may_say(self, said: str, seconds: float | None) -> None:
        answer = httpx.Response(429, headers=[(b"retry-after", said.encode("latin-1"))])
        assert Lemonade(answer).fails().retry_after_seconds == seconds

    def test_of_a_refusal_that_no_wait_helps_it_says_nothing(self) -> None:
        assert Lemonade(refused(400, {"retry-after": "7"})).fails().retry_after_seconds is None


class TestErrors:
    def test_a_missing_object_and_a_refused_key_are_told_apart(self) -> None:
        assert isinstance(Lemonade(refused(404)).fails(), GatewayObjectMissing)
        for status in (401, 403):
            refusal = Lemonade(refused(status)).fails()
            assert isinstance(refusal, GatewayKeyRefused)
            assert refusal.retry_helps is False
        assert type(Lemonade(refused(400)).fails()) is GatewayError

    def test_it_says_who_refused_what_in_the_gateways_codes(self) -> None:
        said = Lemonade(refused(400, code="squeezed", message=f"bad key {KEY}")).fails()
        assert str(said) == f"Lemonade answered 400 (squeezed) to GET {PATH}"

    @pytest.mark.parametrize("body", [b"<html>", b"[]", b"", json.dumps([KEY]).encode()])
    def test_a_refusal_in_another_shape(self, body: bytes) -> None:
        said = str(Lemonade(httpx.Response(503, content=body)).fails())
        assert said == f"Lemonade answered 503 (no code) to GET {PATH}"

    @pytest.mark.parametrize(
        "reason", [httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadTimeout, httpx.RemoteProtocolError]
    )
    def test_silence_is_told_by_its_kind_alone(self, reason: type[httpx.TransportError]) -> None:
        gateway = Lemonade(silent(reason))
        with pytest.raises(GatewayError) as raised:
            gateway.client.ask("GET", PATH)
        assert str(raised.value) == f"Lemonade did not answer GET {PATH}: {reason.__name__}"
        assert raised.value.retry_helps is True

    def test_what_cannot_be_sent_is_not_quoted(self) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            raise httpx.LocalProtocolError(f"Illegal header value {request.headers['authorization']!r}")

        gateway = Lemonade(answer)
        assert str(gateway.fails()) == f"GET {PATH} cannot be sent to Lemonade"
        assert len(gateway.requests) == 1

    def test_the_key_is_in_no_repr(self) -> None:
        assert repr(Lemonade(ok()).client) == "<ApiClient Lemonade https://lemonade.test>"

    def test_after_hanging_up_nothing_is_asked(self) -> None:
        gateway = Lemonade(ok())
        gateway.client.close()
        with pytest.raises(RuntimeError):
            gateway.client.ask("GET", PATH)
        assert gateway.requests == []


class TestRate:
    def test_a_seconds_worth_goes_at_once_and_the_rest_as_it_fills(self) -> None:
        now = [0.0]
        rate = Rate(4.0, clock=lambda: now[0])
        assert [rate.wait_seconds() for _ in range(6)] == [0, 0, 0, 0, 0.25, 0.5]
        now[0] = 10.0
        assert [rate.wait_seconds() for _ in range(5)] == [0, 0, 0, 0, 0.25]

    def test_a_rate_of_less_than_one_a_second(self) -> None:
        now = [0.0]
        rate = Rate(0.5, clock=lambda: now[0])
        assert [rate.wait_seconds() for _ in range(2)] == [0, 2.0]

    def test_a_client_waits_its_turn(self) -> None:
        gateway = Lemonade(ok(), per_second=2.0)
        for _ in range(4):
            gateway.client.ask("GET", PATH)
        assert gateway.slept == [0.5, 0.5]
        assert len(gateway.requests) == 4

    def test_each_try_again_counts_as_well(self) -> None:
        gateway = Lemonade(refused(500), per_second=1.0)
        gateway.fails()
        assert len(gateway.requests) == 3
        assert math.isclose(sum(gateway.slept), 2.0)  # three requests at one a second, the first at once

    def test_who_would_wait_too_long_is_turned_away_and_takes_no_turn(self) -> None:
        gateway = Lemonade(ok(), per_second=0.4)
        gateway.client.ask("GET", PATH)
        turned_away = gateway.fails()
        assert str(turned_away) == "Lemonade is being asked more often than it allows"
        assert (turned_away.retry_helps, turned_away.retry_after_seconds) == (True, 2.5)
        gateway.now += 2.5
        gateway.client.ask("GET", PATH)
        assert len(gateway.requests) == 2
