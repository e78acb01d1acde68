"""Deliveries to real servers over real TLS: what is sent, what each answer means, and what nobody can do to us."""

import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.forwarding.connections import Connections
from gatehouse.forwarding.deadline import Deadline
from gatehouse.forwarding.deliver import App, Deliverer, Delivery, Patience
from gatehouse.forwarding.http_answer import Answer
from gatehouse.forwarding.loops import is_our_own
from gatehouse.forwarding.outcome import of_status
from gatehouse.forwarding.sign import new_secret, verify
from gatehouse.forwarding.targets import Target, check_url
from tests.forwarding.apps import BODY, HOST, MESSAGE, QUICK, SECRET, Ground, app_at, body_of, headers_of
from tests.support.scripted_server import Conversation, ScriptedServer, answering, nobody_listening, response

pytestmark = pytest.mark.req("R2", "R3")

IMPATIENT = Patience(attempts=1, attempt_seconds=0.6, waits_milliseconds=())


def saying(raw: bytes) -> Conversation:
    """Answer one request with these bytes and hang up."""

    def conversation(connection: socket.socket, server: ScriptedServer) -> None:
        server.read_request(connection)
        connection.sendall(raw)

    return conversation


def dripping(beginning: bytes, drop: bytes, every_seconds: float = 0.02) -> Conversation:
    """Begin an answer and go on for ever, a drop at a time."""

    def conversation(connection: socket.socket, server: ScriptedServer) -> None:
        server.read_request(connection)
        connection.sendall(beginning)
        for _ in range(2000):
            connection.sendall(drop)
            server.wait(every_seconds)

    return conversation


def silent(connection: socket.socket, server: ScriptedServer) -> None:
    """Take the request and say nothing."""
    server.read_request(connection)
    server.wait(10)


def cut(connection: socket.socket, _: ScriptedServer) -> None:
    """Hang up in the middle of the request."""
    connection.recv(1)


def timed(deliver: Callable[[], Delivery]) -> tuple[Delivery, float]:
    """Deliver, and tell how long that took."""
    began = time.monotonic()
    return deliver(), time.monotonic() - began


class TestRequest:
    def test_is_the_exact_body_signed_and_told_about(self, ground: Ground) -> None:
        with ground.server(answering(b"ok")) as server:
            app = app_at(server, Authorization="Bearer t0ken")
            delivery = ground.deliverer(server, now=lambda: 1_700_000_000.9).deliver(MESSAGE, app)
        assert delivery == Delivery("delivered", 200, 1, delivery.duration_milliseconds, None, None, None)
        assert delivery.ok
        (request,) = server.requests
        assert request.startswith(b"POST /hooks?token=t0ken HTTP/1.1\r\n")
        assert body_of(request) == BODY
        headers = headers_of(request)
        assert verify(headers, body_of(request), [SECRET], now=1_700_000_000) == MESSAGE.id
        signature = headers.pop("webhook-signature")
        assert signature.startswith("v1,")
        assert headers == {
            "host": f"{HOST}:{server.port}",
            "user-agent": "Gatehouse-Webhooks/1",
            "accept": "*/*",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "content-length": str(len(BODY)),
            "x-router-source": "nexai-paystack-router",
            "webhook-id": MESSAGE.id,
            "webhook-timestamp": "1700000000",
            "x-gatehouse-event": "charge.success",
            "x-gatehouse-gateway": "paystack",
            "x-gatehouse-hop": "1",
            "authorization": "Bearer t0ken",
        }

    def test_keeps_the_content_type_and_any_bytes(self, ground: Ground) -> None:
        body = bytes(range(256)) * 3000  # larger than TLS takes at once
        message = MESSAGE._replace(body=body, content_type="text/plain; charset=utf-8")
        with ground.server(answering(b"")) as server:
            assert ground.deliver(server, message=message).ok
        assert body_of(server.requests[0]) == body
        assert headers_of(server.requests[0])["content-type"] == "text/plain; charset=utf-8"

    def test_an_empty_body_is_sent_as_one(self, ground: Ground) -> None:
        with ground.server(answering(b"")) as server:
            assert ground.deliver(server, message=MESSAGE._replace(body=b"")).ok
        assert headers_of(server.requests[0])["content-length"] == "0"

    def test_the_router_source_can_be_another(self, ground: Ground) -> None:
        with ground.server(answering(b"")) as server:
            assert ground.deliverer(server).deliver(MESSAGE, app_at(server)._replace(router_source="acme")).ok
        assert headers_of(server.requests[0])["x-router-source"] == "acme"

    def test_old_and_new_secret_sign_side_by_side(self, ground: Ground) -> None:
        new = new_secret()
        with ground.server(answering(b"")) as server:
            assert ground.deliverer(server).deliver(MESSAGE, app_at(server)._replace(secrets=(new, SECRET))).ok
        for secret in (new, SECRET):
            assert verify(headers_of(server.requests[0]), BODY, [secret], now=time.time()) == MESSAGE.id

    def test_a_name_that_a_gateway_chose_stays_one_header(self, ground: Ground) -> None:
        event = "charge\r\nhost: evil é 100% \x00\ud800" + "x" * 300
        with ground.server(answering(b"")) as server:
            assert ground.deliver(server, message=MESSAGE._replace(event=event)).ok
        headers = headers_of(server.requests[0])
        assert headers["x-gatehouse-event"].startswith("charge%0D%0Ahost:%20evil%20%C3%A9%20100%25%20%00?xxx")
        assert headers["host"] == f"{HOST}:{server.port}"

    def test_is_known_as_ours_when_it_comes_back(self, ground: Ground) -> None:
        with ground.server(answering(b"")) as server:
            ground.deliver(server)
        assert is_our_own(headers_of(server.requests[0]))
        assert is_our_own({"X-Gatehouse-Hop": "7"})
        assert not is_our_own({"x-gatehouse-event": "charge.success", "host": HOST})


class TestAttempts:
    def test_500_twice_and_then_200_is_one_delivery(self, ground: Ground) -> None:
        conversations = (answering(b"", status="500 Oops"), answering(b"", status="503 Later"), answering(b"ok"))
        with ground.server(*conversations) as server:
            delivery = ground.deliver(server, Patience(attempt_seconds=2))
        assert (delivery.what, delivery.status_code, delivery.attempt_count) == ("delivered", 200, 3)
        assert (delivery.error_class, delivery.error_message) == (None, None)
        assert ground.waits == [pytest.approx(0.3), pytest.approx(0.6)]
        assert {headers_of(each)["webhook-id"] for each in server.requests} == {MESSAGE.id}

    def test_each_attempt_is_signed_at_its_own_time(self, ground: Ground) -> None:
        moments = iter((1000.0, 1000.0, 2000.0, 2000.0, 3000.0, 3000.0))
        with ground.server(answering(b"", status="500 Oops"), answering(b"")) as server:
            assert ground.deliverer(server, now=lambda: next(moments)).deliver(MESSAGE, app_at(server)).ok
        for request in server.requests:
            at = int(headers_of(request)["webhook-timestamp"])
            assert verify(headers_of(request), BODY, [SECRET], now=at) == MESSAGE.id
        first, second = (headers_of(request)["webhook-timestamp"] for request in server.requests)
        assert int(first) < int(second)

    def test_three_and_no_more(self, ground: Ground) -> None:
        with ground.server(*[answering(b"down for lunch", status="502 Bad Gateway")] * 4) as server:
            delivery = ground.deliver(server)
        assert server.connections == 3
        assert (delivery.what, delivery.status_code, delivery.attempt_count) == ("retry", 502, 3)
        assert delivery.error_class == "HTTP_502"
        assert delivery.error_message == f"{HOST} answered 502: down for lunch"
        assert delivery.ok is False

    def test_as_many_and_with_such_waits_as_are_configured(self, ground: Ground) -> None:
        patience = Patience(attempts=5, attempt_seconds=2, waits_milliseconds=(10, 20))
        with ground.server(*[answering(b"", status="500 Oops")] * 5) as server:
            assert ground.deliver(server, patience).attempt_count == 5
        assert ground.waits == [pytest.approx(each) for each in (0.01, 0.02, 0.02, 0.02)]

    def test_waits_are_spread_by_a_fifth(self) -> None:
        waits: list[float] = []
        deliverer = Deliverer(Fixed(Answer(500, {}, b"", True)), sleep=waits.append)
        for _ in range(50):
            deliverer.deliver(MESSAGE, App(f"https://{HOST}/", (SECRET,)))
        assert all(0.24 <= wait <= 0.36 for wait in waits[::2])
        assert all(0.48 <= wait <= 0.72 for wait in waits[1::2])
        assert len(set(waits)) > 90

    def test_a_receiver_that_says_when_ends_the_delivery(self, ground: Ground) -> None:
        with ground.server(saying(b"HTTP/1.1 429 Slow\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n")) as server:
            delivery = ground.deliver(server)
        assert (delivery.what, delivery.attempt_count, delivery.retry_after_seconds) == ("retry", 1, 120.0)
        assert ground.waits == []

    def test_what_takes_long_is_told(self, ground: Ground) -> None:
        delivery = Deliverer(
            Fixed(Answer(500, {}, b"", True)), clock=iter(range(100)).__next__, sleep=ground.waits.append
        ).deliver(MESSAGE, App(f"https://{HOST}/", (SECRET,)))
        assert delivery.duration_milliseconds == 7000  # by this clock each look at it takes a second: two an attempt


class TestOutcomes:
    @pytest.mark.parametrize(
        ("status", "what"),
        [
            *((status, "delivered") for status in (200, 201, 202, 204, 299)),
            *((status, "final") for status in (300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 405, 409, 411, 422)),
            *((status, "retry") for status in (408, 425, 429, 500, 501, 502, 503, 504, 599)),
            (410, "gone"),
        ],
    )
    def test_of_each_status(self, ground: Ground, status: int, what: str) -> None:
        with ground.server(answering(b"", status=f"{status} Said")) as server:
            delivery = ground.deliver(server, QUICK._replace(attempts=1))
        assert (delivery.what, delivery.status_code, delivery.attempt_count) == (what, status, 1)
        assert delivery.error_class == (None if what == "delivered" else f"HTTP_{status}")
        assert of_status(status) == what

    def test_final_and_gone_are_not_tried_again(self, ground: Ground) -> None:
        for status in ("404 Not Found", "410 Gone"):
            with ground.server(answering(b"", status=status)) as server:
                assert ground.deliver(server).attempt_count == 1
        assert ground.waits == []

    def test_a_redirect_is_not_followed(self, ground: Ground) -> None:
        redirect = b"HTTP/1.1 307 Moved\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\r\n"
        with ground.server(saying(redirect), saying(redirect)) as server:
            delivery = ground.deliver(server)
        assert (delivery.what, delivery.status_code, server.connections) == ("final", 307, 1)
        assert delivery.error_message == f"{HOST} answered 307, a redirect, which is not followed"
        assert ground.lookups == [HOST]

    @pytest.mark.parametrize(
        ("said", "seconds"),
        [
            ("7", 7.0),
            ("0", 0.0),
            ("86400", 86400.0),
            ("999999999999999999999999999999", 86400.0),
            (format_datetime(datetime.fromtimestamp(1000, UTC) + timedelta(seconds=90), usegmt=True), 90.0),
            (format_datetime(datetime.fromtimestamp(1000, UTC) - timedelta(days=1), usegmt=True), 0.0),
            (format_datetime(datetime.fromtimestamp(1000, UTC) + timedelta(days=9), usegmt=True), 86400.0),
            ("Thu, 01 Jan 1970 00:17:40 -0000", 60.0),
            *(
                (nonsense, None)
                for nonsense in ("", "soon", "-1", "1.5", "\xb2", "7, 7", "Mon", "1 Jan 99999 0:0:0 GMT")
            ),
        ],
    )
    def test_retry_after(self, said: str, seconds: float | None) -> None:
        assert answered(429, {"retry-after": said}).retry_after_seconds == seconds

    @settings(deadline=None, derandomize=True, max_examples=100, database=None)
    @given(st.one_of(st.text(max_size=40), st.from_regex(r"Mon, [0-9]+ [A-Z][a-z]{2} [0-9]+ [0-9:]+ [+-][0-9]+")))
    def test_retry_after_never_fails_and_is_within_a_day(self, said: str) -> None:
        assert 0 <= (answered(503, {"retry-after": said}).retry_after_seconds or 0) <= 86400

    @pytest.mark.parametrize("status", [200, 301, 404, 410])
    def test_retry_after_counts_only_where_a_retry_helps(self, status: int) -> None:
        assert answered(status, {"retry-after": "7"}).retry_after_seconds is None

    @pytest.mark.req("M9")
    def test_a_message_holds_nothing_that_was_sent(self, ground: Ground) -> None:
        message = MESSAGE._replace(body=b'{"patient": "Jane Roe", "diagnosis": "Influenza"}')
        said = b"cannot take Jane Roe (influenza), token Bearer s3cr3t, header " + SECRET.encode()
        with ground.server(answering(said, status="422 No")) as server:
            app = app_at(server, authorization="Bearer s3cr3t")
            delivery = ground.deliverer(server).deliver(message, app)
        assert delivery.error_message == f"{HOST} answered 422: cannot take … … (…), token … …, header " + SECRET
        for shown in (repr(app), repr(message), repr(delivery), str(delivery)):
            assert "s3cr3t" not in shown
            assert "t0ken" not in shown
            assert "Jane" not in shown

    def test_a_long_answer_is_told_in_short(self, ground: Ground) -> None:
        with ground.server(answering(b"<p>\n" * 5000, status="500 Oops")) as server:
            delivery = ground.deliver(server, QUICK._replace(attempts=1))
        assert delivery.error_message is not None
        assert len(delivery.error_message) <= 300
        assert "\n" not in delivery.error_message


class TestHostileReceivers:
    @pytest.mark.parametrize(
        "conversation",
        [
            silent,
            dripping(b"HTTP/1.1 200 OK\r\n", b"x-drop: 1\r\n"),
            dripping(b"HTTP/1.1 200 OK\r\nx: ", b"a"),
            dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        ],
        ids=["silent", "slow headers", "one endless header", "endless 100 Continue"],
    )
    def test_the_whole_attempt_has_one_deadline(self, ground: Ground, conversation: Conversation) -> None:
        with ground.server(conversation) as server:
            delivery, seconds = timed(lambda: ground.deliver(server, IMPATIENT))
        assert (delivery.what, delivery.status_code, delivery.error_class) == ("retry", None, "TIMEOUT")
        assert delivery.error_message == f"{HOST} did not answer in time"
        assert seconds < 2

    def test_a_receiver_that_reads_slowly_is_not_waited_for(self, ground: Ground) -> None:
        def reads_slowly(connection: socket.socket, server: ScriptedServer) -> None:
            # About 3 MB a second: slow enough for the deadline, fast enough that no single record waits for as long.
            for _ in range(2000):
                connection.recv(16_384)
                server.wait(0.005)

        large = MESSAGE._replace(body=b"x" * 16_000_000)
        with ground.server(reads_slowly) as server:
            delivery, seconds = timed(lambda: ground.deliver(server, IMPATIENT._replace(attempt_seconds=0.8), large))
        assert delivery.error_class == "TIMEOUT"
        assert seconds < 2.5

    @pytest.mark.parametrize("drop", [b"", b"\x00"], ids=["silent", "dripping"])
    def test_a_host_that_never_finishes_its_handshake(self, ground: Ground, drop: bytes) -> None:
        def never(connection: socket.socket, server: ScriptedServer) -> None:
            connection.recv(1)
            connection.sendall(b"\x16\x03\x03\x3f\x00\x02" if drop else b"")  # the head of a record of 16 kB
            for _ in range(500):
                connection.sendall(drop)
                server.wait(0.02)

        with ScriptedServer(never) as server:  # without TLS
            delivery, seconds = timed(lambda: ground.deliver(server, IMPATIENT))
        assert delivery.error_class == "TIMEOUT"
        assert seconds < 2

    def test_a_name_server_that_does_not_answer(self, ground: Ground) -> None:
        class Slow(Ground):
            def lookup(self, host: str) -> list[str]:
                time.sleep(2)
                raise socket.gaierror(host)

        slow = Slow(ground.authority)
        with slow.server() as server:
            delivery, seconds = timed(lambda: slow.deliver(server, IMPATIENT))
        assert delivery.error_class == "TIMEOUT"
        assert seconds < 1.5

    @pytest.mark.parametrize(
        "conversation",
        [
            dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", b"x"),
            dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 60_000, 0),
            dripping(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"5\r\nhello\r\n"),
            dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", b"HTTP/1.1 500 Oops\r\n\r\n"),
        ],
        ids=["dripping", "endless", "endless chunks", "more answers than requests"],
    )
    def test_a_body_without_end_does_not_keep_us(self, ground: Ground, conversation: Conversation) -> None:
        with ground.server(conversation, answering(b"")) as server:
            deliverer = ground.deliverer(server, patience=Patience(attempt_seconds=30))
            delivery, seconds = timed(lambda: deliverer.deliver(MESSAGE, app_at(server)))
            assert (delivery.what, delivery.status_code) == ("delivered", 200)  # the status was said
            assert seconds < 4
            assert deliverer.deliver(MESSAGE, app_at(server)).status_code == 200
        assert server.connections == 2  # the first one is not used again

    @pytest.mark.parametrize(
        ("conversation", "error_class"),
        [
            (cut, "NETWORK"),
            (saying(b""), "NETWORK"),
            (saying(b"HTTP/1.1 200 O"), "NETWORK"),
            (saying(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), "NETWORK"),
            (saying(b"220 mail.example.com ESMTP\r\n"), "ANSWER_UNREADABLE"),
            (saying(b"\x00" * 100_000), "ANSWER_UNREADABLE"),
        ],
        ids=["in the request", "before the answer", "in the head", "in the body", "another protocol", "noise"],
    )
    def test_a_connection_that_is_cut_or_speaks_nonsense(
        self, ground: Ground, conversation: Conversation, error_class: str
    ) -> None:
        with ground.server(conversation, answering(b"")) as server:
            delivery = ground.deliver(server, QUICK._replace(attempts=1))
            assert (delivery.what, delivery.status_code, delivery.error_class) == ("retry", None, error_class)
            assert delivery.error_message
            assert ground.deliver(server).ok

    def test_nobody_listens(self, ground: Ground) -> None:
        with nobody_listening() as url:
            port = int(url.rpartition(":")[2])
            deliverer = Deliverer(ground.transport(), allowed_local=[f"{HOST}:{port}"], sleep=ground.waits.append)
            delivery = deliverer.deliver(MESSAGE, App(f"https://{HOST}:{port}/", (SECRET,)))
        assert (delivery.what, delivery.error_class, delivery.attempt_count) == ("retry", "NETWORK", 3)
        assert delivery.error_message == f"{HOST} could not be asked: Connection refused"


class TestTrust:
    def test_a_certificate_for_another_name(self, ground: Ground) -> None:
        with ground.server(answering(b""), name="other.example.com") as server:
            delivery = ground.deliver(server, QUICK._replace(attempts=1))
        assert (delivery.what, delivery.error_class, server.requests) == ("retry", "TLS", [])
        assert "certificate is not valid for 'hooks.example.com'" in str(delivery.error_message)

    def test_a_certificate_for_the_address_alone(self, ground: Ground) -> None:
        with ground.server(answering(b""), name="127.0.0.1") as server:
            assert ground.deliver(server, QUICK._replace(attempts=1)).error_class == "TLS"
        assert server.requests == []

    def test_an_authority_that_nobody_knows(self, ground: Ground) -> None:
        with ground.server(answering(b"")) as server:
            stranger = Connections(lookup=ground.lookup)  # trusts the system's authorities
            delivery = Deliverer(stranger, patience=IMPATIENT, allowed_local=[f"{HOST}:{server.port}"]).deliver(
                MESSAGE, app_at(server)
            )
        assert (delivery.what, delivery.error_class, server.requests) == ("retry", "TLS", [])

    def test_a_host_without_tls(self, ground: Ground) -> None:
        with ScriptedServer(saying(response(b"")), saying(response(b""))) as server:
            delivery = ground.deliver(server, IMPATIENT)
        assert (delivery.what, delivery.status_code) == ("retry", None)
        assert server.requests == []

    def test_the_host_is_asked_for_by_its_name_and_reached_by_its_address(self, ground: Ground) -> None:
        asked: list[str | None] = []
        context = ground.authority.server_context(HOST)
        context.sni_callback = lambda _socket, name, _context: asked.append(name)
        with ScriptedServer(answering(b""), tls=context) as server:
            assert ground.deliver(server).ok
        assert asked == [HOST]
        assert ground.lookups == [HOST]


class TestAddresses:
    def test_a_name_that_leads_to_this_machine_is_refused(self, ground: Ground) -> None:
        with ground.server(answering(b"")) as server:
            delivery = Deliverer(ground.transport(), sleep=ground.waits.append).deliver(MESSAGE, app_at(server))
            assert server.connections == 0
        assert (delivery.what, delivery.error_class, delivery.attempt_count) == ("retry", "TARGET_REFUSED", 1)
        assert delivery.error_message == f"{HOST} leads to 127.0.0.1, which is not public"
        assert ground.waits == []

    @pytest.mark.parametrize("address", ["169.254.169.254", "10.0.0.1", "::ffff:169.254.169.254", "fd00:ec2::254"])
    def test_a_name_that_leads_into_a_network_is_always_refused(self, ground: Ground, address: str) -> None:
        with ground.server(answering(b"")) as server:
            ground.addresses = ["127.0.0.1", address]
            delivery = ground.deliver(server)
            assert server.connections == 0
        assert delivery.error_class == "TARGET_REFUSED"

    def test_a_second_answer_of_the_name_server_is_never_asked_for(self, ground: Ground) -> None:
        class Rebinding(Ground):
            def lookup(self, host: str) -> list[str]:
                self.lookups.append(host)
                return ["127.0.0.1"] if len(self.lookups) == 1 else ["169.254.169.254"]

        rebinding = Rebinding(ground.authority)
        with rebinding.server(answering(b"", b"")) as server:
            deliverer = rebinding.deliverer(server)
            assert [deliverer.deliver(MESSAGE, app_at(server)).ok for _ in range(2)] == [True, True]
            assert rebinding.lookups == [HOST]
            rebinding.connections[0].close()
            assert deliverer.deliver(MESSAGE, app_at(server)).error_class == "TARGET_REFUSED"
        rebinding.connections[0].close()

    @pytest.mark.parametrize(
        "url",
        ["http://hooks.example.com/", "https://127.0.0.1/", "https://169.254.169.254/x", "https://[::1]/", "nonsense"],
    )
    def test_a_url_that_is_refused_is_not_looked_up(self, ground: Ground, url: str) -> None:
        delivery = Deliverer(ground.transport()).deliver(MESSAGE, App(url, (SECRET,)))
        assert (delivery.what, delivery.error_class, delivery.attempt_count) == ("final", "TARGET_REFUSED", 0)
        assert ground.lookups == []

    def test_a_name_that_nobody_knows(self) -> None:
        def unknown(_: str) -> list[str]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        deliverer = Deliverer(Connections(lookup=unknown), patience=IMPATIENT)
        delivery = deliverer.deliver(MESSAGE, App(f"https://{HOST}/", (SECRET,)))
        assert (delivery.what, delivery.error_class) == ("retry", "NAME_UNKNOWN")
        assert delivery.error_message == f"{HOST} has no address: Name or service not known"

    def test_the_first_address_may_be_dead(self, ground: Ground) -> None:
        ground.addresses = ["::1", "127.0.0.1"]  # the server listens on the second one
        with ground.server(answering(b"")) as server:
            assert ground.deliver(server).ok


class TestAppsThatAreSetUpWrong:
    @pytest.mark.parametrize(
        ("changes", "error_class"),
        [
            ({"secrets": ()}, "SETTING_ERROR"),
            ({"secrets": (SECRET, "whsec_short")}, "SETTING_ERROR"),
            ({"headers": {"host": "x"}}, "HEADER_REFUSED"),
            ({"headers": {"x": "a\r\nb: c"}}, "HEADER_REFUSED"),
            ({"router_source": "a\r\nb: c"}, "HEADER_REFUSED"),
        ],
    )
    def test_get_nothing_until_somebody_looks(self, changes: dict[str, object], error_class: str) -> None:
        app = App(**{"url": f"https://{HOST}/", "secrets": (SECRET,), **changes})  # type: ignore[arg-type]  # any field
        delivery = Deliverer(Fixed(Answer(200, {}, b"", True))).deliver(MESSAGE, app)
        assert (delivery.what, delivery.error_class, delivery.attempt_count) == ("final", error_class, 0)
        assert delivery.error_message
        assert "short" not in delivery.error_message

    def test_so_does_a_message_whose_type_is_no_header(self) -> None:
        message = MESSAGE._replace(content_type="text/plain\r\nx: y")
        delivery = Deliverer(Fixed(Answer(200, {}, b"", True))).deliver(message, App(f"https://{HOST}/", (SECRET,)))
        assert (delivery.what, delivery.error_class) == ("final", "HEADER_REFUSED")


class Fixed:
    """A network in which everybody says the same."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def exchange(self, target: Target, request: bytes, deadline: Deadline) -> Answer:
        """Return that answer."""
        assert target == check_url(f"https://{HOST}/")
        assert request.startswith(b"POST / HTTP/1.1\r\n")
        deadline.left()
        return self._answer


def answered(status: int, headers: dict[str, str]) -> Delivery:
    """Deliver once to somebody who answers so, at 1000 seconds after 1970."""
    network = Fixed(Answer(status, headers, b"", True))
    deliverer = Deliverer(network, patience=QUICK._replace(attempts=1), now=lambda: 1000.0)
    return deliverer.deliver(MESSAGE, App(f"https://{HOST}/", (SECRET,)))
