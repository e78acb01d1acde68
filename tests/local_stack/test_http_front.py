"""The front door over real sockets: routes, throttles, limits, failures, and clients that mean no good."""

import base64
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from local.http_front import HttpFront, RouteTable, TokenBucket
from local.lambda_runtime import Invocation, LambdaFunction, Throttled
from local.template import FunctionSpec, Route

FUNCTIONS = Path(__file__).parent / "functions"

pytestmark = pytest.mark.req("O2", "D4")


@dataclass
class FakeFunction:
    """Answers as it is told, and keeps the events."""

    answer: Callable[[], bytes] = lambda: b'{"statusCode": 200, "body": "ok"}'
    error_type: str = ""
    events: list[bytes] = field(default_factory=list)

    def invoke(self, payload: bytes) -> Invocation:
        """Keep the event and answer."""
        self.events.append(payload)
        failed = bool(self.error_type)
        return Invocation(self.answer(), failed, self.error_type, "", "an-id", 1.0, None)


@dataclass
class Front:
    """A running front, what it told of each request, and the function behind all of its routes."""

    http: HttpFront
    function: FakeFunction
    requests: list[tuple[str, str, str, int, float, str]]

    def client(self) -> httpx.Client:
        """Return a client that ignores the proxies of whoever runs the tests."""
        return httpx.Client(base_url=f"http://127.0.0.1:{self.http.port}", trust_env=False, timeout=10)

    def send(self, raw: bytes) -> bytes:
        """Send bytes on a new connection and return everything that comes back until it is closed."""
        with socket.create_connection(("127.0.0.1", self.http.port), timeout=10) as connection:
            connection.sendall(raw)
            return b"".join(iter(lambda: connection.recv(65_536), b""))


ROUTES = [
    Route("POST", "/hooks/stripe", "F"),
    Route("GET", "/hooks/stripe", "F"),
    Route("ANY", "/tenants/{id}", "F"),
    Route("GET", "/slow", "F", rate=0.001, burst=2),
]


@pytest.fixture
def start() -> Iterator[Callable[..., Front]]:
    """Start fronts that end with the test."""
    started: list[HttpFront] = []

    def front(routes: list[Route] = ROUTES, function: FakeFunction | None = None, *, head_seconds: float = 5) -> Front:
        function = function or FakeFunction()
        requests: list[tuple[str, str, str, int, float, str]] = []
        http = HttpFront(
            routes,
            {"F": function},
            0,
            on_request=lambda *request: requests.append(request),
            head_seconds=head_seconds,
        )
        http.start()
        started.append(http)
        return Front(http, function, requests)

    yield front
    for http in started:
        http.stop()


@pytest.fixture
def front(start: Callable[..., Front]) -> Front:
    return start()


# --- with real functions ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_url() -> Iterator[str]:
    """Serve the functions `echo` and `trouble` under awslambdaric."""

    def function(name: str) -> LambdaFunction:
        handler = f"{name}.handler.handler"
        spec = FunctionSpec(name, name, handler, FUNCTIONS, (), timeout_seconds=1, memory_mb=128, environment={})
        return LambdaFunction(spec, on_line=lambda *_: None, most_environments=2)

    functions = {name: function(name) for name in ("echo", "trouble", "broken_import")}
    routes = [Route("ANY", f"/{name}/{{rest+}}", name) for name in functions]
    http = HttpFront(routes, functions, 0)
    http.start()
    yield f"http://127.0.0.1:{http.port}"
    http.stop()
    for one in functions.values():
        one.stop()


def test_a_request_reaches_a_function_with_every_byte(real_url: str) -> None:
    raw = bytes(range(256)) * 40
    with httpx.Client(base_url=real_url, trust_env=False) as client:
        answer = client.put("/echo/a/b%20c?x=1&x=2", content=raw, headers={"Content-Type": "application/octet-stream"})
        event = answer.json()
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert base64.b64decode(event["body"]) == raw
        assert event["routeKey"] == "ANY /echo/{rest+}"
        assert event["pathParameters"] == {"rest": "a/b c"}
        assert event["queryStringParameters"] == {"x": "1,2"}
        assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"
        assert event["requestContext"]["requestId"] == answer.headers["apigw-requestid"]
        assert event["headers"]["host"] == real_url.removeprefix("http://")
        chunked = client.post("/echo/x", content=iter([b'{"a":', b"1}"]), headers={"content-type": "application/json"})
        assert chunked.json()["body"] == '{"a":1}'
        assert chunked.json()["headers"]["content-length"] == "7"
        assert "transfer-encoding" not in chunked.json()["headers"]


def test_every_way_to_fail_is_503_and_the_next_request_works(real_url: str) -> None:
    with httpx.Client(base_url=real_url, trust_env=False) as client:
        # `trouble` reads event["do"], which a request of the front does not have.
        assert client.get("/trouble/x").status_code == 503
        assert client.get("/trouble/x").json() == {"message": "Service Unavailable"}
        assert client.get("/broken_import/x").status_code == 503
        assert client.get("/echo/x").status_code == 200


def test_many_clients_at_once_get_their_own_answers(real_url: str) -> None:
    def ask(caller: int) -> bool:
        with httpx.Client(base_url=real_url, trust_env=False) as client:
            return all(
                client.get(f"/echo/{caller}/{number}").json()["rawPath"] == f"/echo/{caller}/{number}"
                for number in range(20)
            )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


# --- routes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "key", "parameters"),
    [
        ("GET", "/pets/dog/1", "GET /pets/dog/1", {}),
        ("GET", "/pets/dog/2", "GET /pets/dog/{id}", {"id": "2"}),
        ("GET", "/pets/cat/1", "GET /pets/{proxy+}", {"proxy": "cat/1"}),
        ("POST", "/pets/dog/1", "ANY /{proxy+}", {"proxy": "pets/dog/1"}),
        ("GET", "/pets/dog/1/", "GET /pets/{proxy+}", {"proxy": "dog/1/"}),
        ("POST", "/pets.dog", "ANY /{proxy+}", {"proxy": "pets.dog"}),
        ("GET", "/", "$default", {}),
    ],
)
def test_the_route_is_the_most_exact_one(method: str, path: str, key: str, parameters: dict[str, str]) -> None:
    keys = ["$default", "ANY /{proxy+}", "GET /pets/{proxy+}", "GET /pets/dog/{id}", "ANY /pets/dog", "GET /pets/dog/1"]
    parts = [key.rpartition(" ") for key in keys]
    table = RouteTable([Route(method or "ANY", path, "F") for method, _, path in parts])
    match = table.find(method, path)
    assert match is not None
    assert (match.route.key, match.path_parameters) == (key, parameters)


def test_unknown_paths_and_methods(front: Front) -> None:
    with front.client() as client:
        unknown = client.post("/hooks/nobody")
        assert (unknown.status_code, unknown.json()) == (404, {"message": "Not Found"})
        assert client.get("/tenants/a/b").status_code == 404
        assert client.get("/tenants/").status_code == 404
        wrong = client.delete("/hooks/stripe")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, POST")
        assert client.delete("/tenants/a").status_code == 200
    assert len(front.function.events) == 1


def test_what_is_told_of_each_request(front: Front) -> None:
    with front.client() as client:
        client.get("/tenants/a-secret-token")
        client.get("/nothing")
    front.send(b"nonsense\r\n\r\n")
    told = [(method, key, path, status, name) for method, key, path, status, _, name in front.requests]
    assert told == [
        ("GET", "ANY /tenants/{id}", "/tenants/a-secret-token", 200, "F"),
        ("GET", "", "/nothing", 404, ""),
        ("-", "", "-", 400, ""),
    ]


# --- limits ----------------------------------------------------------------------------------------------------------


def test_a_route_is_throttled_by_its_own_bucket(front: Front) -> None:
    with front.client() as client:
        answers = [client.get("/slow") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        assert answers[-1].json() == {"message": "Too Many Requests"}
        assert client.get("/hooks/stripe").status_code == 200


def test_a_bucket_fills_at_its_rate_and_no_higher_than_its_burst() -> None:
    now = 0.0
    bucket = TokenBucket(rate=2, burst=3, clock=lambda: now)
    assert [bucket.takes() for _ in range(4)] == [True, True, True, False]
    now = 0.4
    assert not bucket.takes()
    now = 0.5
    assert [bucket.takes(), bucket.takes()] == [True, False]
    now = 100
    assert [bucket.takes() for _ in range(4)] == [True, True, True, False]
    assert not TokenBucket(rate=0, burst=0).takes()


def test_bodies_above_six_megabytes_are_413_in_each_form(front: Front) -> None:
    size = 6 * 1024 * 1024
    with front.client() as client:
        large = client.post("/hooks/stripe", content=b"x" * (size + 1), headers={"content-type": "text/plain"})
        assert (large.status_code, large.json()) == (413, {"message": "Request Entity Too Large"})
        chunked = client.post("/hooks/stripe", content=(b"x" * 2**20 for _ in range(7)))
        assert chunked.status_code == 413
        assert not front.function.events
        assert client.post("/hooks/stripe", content=b"x" * size).status_code == 200
    head = b"POST /hooks/stripe HTTP/1.1\r\nHost: a\r\n"
    assert front.send(head + b"Content-Length: 99999999999999999999\r\n\r\n").startswith(b"HTTP/1.1 413 ")


def test_an_event_that_lambda_would_not_take_is_413(real_url: str) -> None:
    # 5 MB are less than 6, but in base64 they are more.
    assert httpx.post(f"{real_url}/echo/x", content=b"x" * 5_000_000, trust_env=False).status_code == 413


def test_heads_above_ten_kilobytes_are_431(front: Front) -> None:
    with front.client() as client:
        assert client.get("/hooks/stripe", headers={"x-long": "x" * 9_000}).status_code == 200
        assert client.get("/hooks/stripe", headers={"x-long": "x" * 10_240}).status_code == 431
        assert client.get("/hooks/" + "x" * 10_240).status_code == 431


# --- functions that do not answer ------------------------------------------------------------------------------------


def test_a_throttled_or_failing_or_senseless_function_is_503(start: Callable[..., Front]) -> None:
    def throttled() -> bytes:
        raise Throttled

    def broken() -> bytes:
        raise RuntimeError("a bug of the stack")

    for function in (
        FakeFunction(throttled),
        FakeFunction(broken),
        FakeFunction(error_type="Sandbox.Timedout"),
        FakeFunction(lambda: b'{"statusCode": "soon"}'),
    ):
        with start(function=function).client() as client:
            answer = client.post("/hooks/stripe")
            assert (answer.status_code, answer.json()) == (503, {"message": "Service Unavailable"})


# --- HTTP itself -----------------------------------------------------------------------------------------------------


def test_a_connection_serves_many_requests_also_after_a_refusal(front: Front) -> None:
    request = b"GET /hooks/stripe HTTP/1.1\r\nHost: a\r\n\r\n"
    last = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    answers = front.send(request + b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n" + b"\r\n" + request + last)
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"404", b"200", b"200"]
    assert answers.endswith(b"ok")


def test_head_and_204_have_no_body(start: Callable[..., Front]) -> None:
    front = start([Route("ANY", "/", "F")])
    head = front.send(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b"content-length: 2\r\n" in head
    assert head.endswith(b"\r\n\r\n")
    empty = start([Route("ANY", "/", "F")], FakeFunction(lambda: b'{"statusCode": 204, "body": "no"}'))
    assert b"content-length" not in empty.send(b"GET / HTTP/1.0\r\n\r\n")


def test_a_client_that_asks_first_is_told_to_go_on(front: Front) -> None:
    with socket.create_connection(("127.0.0.1", front.http.port), timeout=5) as connection:
        head = b"POST /hooks/stripe HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % 2)
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")
        connection.sendall(head % 10**8)
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


POST = b"POST /hooks/stripe HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client\r\n\r\n",
        b"GET /hooks/stripe\r\n\r\n",
        b"GET  /hooks/stripe HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /hooks/stripe HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET /hooks/\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /hooks/%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /hooks/%ff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /hooks/stripe?a=%f HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET hooks/stripe HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /hooks/stripe HTTP/1.1\r\n\r\n",
        b"GET /hooks/stripe HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        POST + b"Name : value\r\n\r\n",
        POST + b"A: b\r\n folded\r\n\r\n",
        POST + b"A: \x00\r\n\r\n",
        POST + b"A: b\nC: d\r\n\r\n",
        POST + b"no colon\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 1_0\r\n\r\n",
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcde\r\n0\r\n\r\n",
    ],
)
def test_requests_that_are_wrong_are_400_and_close_the_connection(front: Front, raw: bytes) -> None:
    answer = front.send(raw)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"connection: close" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"message": "Bad Request"}
    assert not front.function.events
    with front.client() as client:
        assert client.get("/hooks/stripe").status_code == 200


def test_slow_clients_get_408_and_silent_ones_are_left(start: Callable[..., Front]) -> None:
    front = start(head_seconds=0.3)
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", front.http.port), timeout=5) as connection:
        for character in b"GET /hooks":
            connection.sendall(bytes([character]))
            time.sleep(0.05)
        assert connection.recv(1000).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert time.monotonic() - begun < 5
    with socket.create_connection(("127.0.0.1", front.http.port)) as connection:
        connection.sendall(POST + b"Content-Length: 100\r\n\r\nhalf of i")  # and it goes away
    with front.client() as client:
        assert client.get("/hooks/stripe").status_code == 200


def test_stop_finishes_what_is_under_way_and_leaves_the_idle(start: Callable[..., Front]) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> bytes:
        begun.set()
        go_on.wait(5)
        return b'"done"'

    front = start(function=FakeFunction(slow))
    idle = socket.create_connection(("127.0.0.1", front.http.port), timeout=5)
    with ThreadPoolExecutor(2) as pool, idle:
        answer = pool.submit(lambda: httpx.get(f"http://127.0.0.1:{front.http.port}/hooks/stripe", trust_env=False))
        assert begun.wait(5)
        stopped = pool.submit(front.http.stop)
        assert idle.recv(10) == b""
        assert not stopped.done()
        go_on.set()
        assert answer.result().text == "done"
        stopped.result(5)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", front.http.port))
