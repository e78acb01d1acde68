"""Connections are used again while that is safe, and by several threads."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from gatehouse.forwarding.connections import MOST_AGE_SECONDS, MOST_IDLE_SECONDS, Connections
from gatehouse.forwarding.deliver import Deliverer
from tests.forwarding.apps import HOST, MESSAGE, QUICK, Ground, app_at
from tests.support.scripted_server import Conversation, ScriptedServer, answering, response

pytestmark = pytest.mark.req("R2", "R3")


def deliver_at(ground: Ground, server: ScriptedServer, *moments: float, attempts: int = 3) -> list[str]:
    """Deliver once at each moment of the wall clock; tell what became of each."""
    at = [0.0]
    transport = ground.transport(now=lambda: at[0])
    deliverer = Deliverer(
        transport,
        patience=QUICK._replace(attempts=attempts),
        allowed_local=[f"{HOST}:{server.port}"],
        sleep=ground.waits.append,
    )
    outcomes = []
    for moment in moments:
        at[0] = moment
        outcomes.append(str(deliverer.deliver(MESSAGE, app_at(server)).what))
    transport.close()  # the server waits for the next request on what is kept
    return outcomes


def test_one_connection_serves_many_deliveries(ground: Ground) -> None:
    with ground.server(answering(*[b"ok"] * 20)) as server:
        assert set(deliver_at(ground, server, *[1.0] * 20)) == {"delivered"}
    assert (server.connections, len(server.requests)) == (1, 20)
    assert ground.lookups == [HOST]


@pytest.mark.parametrize(
    ("moments", "connections"),
    [
        ((0, MOST_IDLE_SECONDS - 0.1), 1),
        ((0, MOST_IDLE_SECONDS), 2),
        (tuple(range(0, int(MOST_AGE_SECONDS), 3)), 1),
        (tuple(range(0, int(MOST_AGE_SECONDS) + 3, 3)), 2),
        ((100, 50), 2),  # a clock that was set back makes nothing young
        ((0, 3600), 2),  # Lambda froze us
    ],
)
def test_none_is_used_that_is_idle_or_old(ground: Ground, moments: tuple[float, ...], connections: int) -> None:
    with ground.server(*[answering(*[b""] * 30)] * 2) as server:
        assert set(deliver_at(ground, server, *moments)) == {"delivered"}
    assert server.connections == connections


def test_a_connection_that_was_hung_up_meanwhile_costs_no_attempt(ground: Ground) -> None:
    with ground.server(answering(b""), answering(b"")) as server:
        deliverer = ground.deliverer(server)
        assert deliverer.deliver(MESSAGE, app_at(server)).ok
        time.sleep(0.05)  # until its end has come over
        assert deliverer.deliver(MESSAGE, app_at(server)).attempt_count == 1
    assert (server.connections, len(server.requests), ground.waits) == (2, 2, [])


def test_one_that_hangs_up_on_the_request_costs_none_either(ground: Ground) -> None:
    def hangs_up_on_the_second(connection: socket.socket, server: ScriptedServer) -> None:
        server.read_request(connection)
        connection.sendall(response(b""))
        server.read_request(connection)  # and not a word

    with ground.server(hangs_up_on_the_second, answering(b"")) as server:
        assert deliver_at(ground, server, 1, 1, attempts=1) == ["delivered", "delivered"]
    assert (server.connections, len(server.requests)) == (2, 3)


def test_one_that_began_to_answer_is_an_attempt(ground: Ground) -> None:
    def breaks_off(connection: socket.socket, server: ScriptedServer) -> None:
        server.read_request(connection)
        connection.sendall(response(b""))
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 2")

    with ground.server(breaks_off, answering(b"")) as server:
        assert deliver_at(ground, server, 1, 1, attempts=1) == ["delivered", "retry"]
    assert server.connections == 1


def test_what_comes_unasked_is_never_the_next_answer(ground: Ground) -> None:
    def answers_twice(connection: socket.socket, server: ScriptedServer) -> None:
        server.read_request(connection)
        connection.sendall(response(b""))
        connection.sendall(response(b"", "200 Smuggled"))
        server.wait(0.5)

    with ground.server(answers_twice, answering(b"", status="500 Oops")) as server:
        deliverer = ground.deliverer(server, patience=QUICK._replace(attempts=1))
        assert deliverer.deliver(MESSAGE, app_at(server)).ok
        time.sleep(0.1)
        assert deliverer.deliver(MESSAGE, app_at(server)).status_code == 500


@pytest.mark.parametrize("answer", [response(b"x" * 5000), b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n"])
def test_what_was_not_read_to_its_end_is_not_used_again(ground: Ground, answer: bytes) -> None:
    def once(connection: socket.socket, server: ScriptedServer) -> None:
        server.read_request(connection)
        connection.sendall(answer)
        server.wait(0.3)

    with ground.server(once, once) as server:
        assert deliver_at(ground, server, 1, 1) == ["delivered", "delivered"]
    assert server.connections == 2


def test_a_connection_of_one_app_is_no_other_apps(ground: Ground) -> None:
    with ground.server(answering(b"")) as one, ground.server(answering(b"")) as other:
        deliverer = ground.deliverer(one, other)
        for server in (one, other):
            assert deliverer.deliver(MESSAGE, app_at(server)).ok
    assert (len(one.requests), len(other.requests)) == (1, 1)


def test_several_threads_deliver_at_once(ground: Ground) -> None:
    """Ten at once, as a worker does with the ten messages of a batch; then ten more over the same connections."""
    gate = threading.Barrier(10, timeout=10)

    def answers_twice_when_all_have_asked(connection: socket.socket, server: ScriptedServer) -> None:
        for _ in range(2):
            server.read_request(connection)
            gate.wait()
            connection.sendall(response(b""))

    with ScriptedServer(*[beside_the_others(ground, answers_twice_when_all_have_asked)] * 10) as server:
        deliverer = ground.deliverer(server)
        for _ in range(2):
            assert deliver_at_once(deliverer, server, 10) == ["delivered"] * 10
    assert (server.connections, len(server.requests)) == (10, 20)


def test_when_one_connection_falls_silent_its_sisters_are_not_tried(ground: Ground) -> None:
    """A network that forgot one connection while we were frozen has forgotten all of them."""
    gate = threading.Barrier(3, timeout=10)

    def answers_and_falls_silent(connection: socket.socket, server: ScriptedServer) -> None:
        server.read_request(connection)
        gate.wait()
        connection.sendall(response(b""))
        server.read_request(connection)
        server.wait(5)

    silent = beside_the_others(ground, answers_and_falls_silent)
    awake = beside_the_others(ground, answering(b""))
    with ScriptedServer(*[silent] * 3, awake) as server:
        deliverer = ground.deliverer(server, patience=QUICK._replace(attempt_seconds=0.5))
        assert deliver_at_once(deliverer, server, 3) == ["delivered"] * 3
        delivery = deliverer.deliver(MESSAGE, app_at(server))
    assert (delivery.what, delivery.attempt_count, server.connections) == ("delivered", 2, 4)


def beside_the_others(ground: Ground, conversation: Conversation) -> Conversation:
    """Hold a conversation in a thread of its own, over TLS, while the server goes on to the next."""
    context = ground.authority.server_context(HOST)

    def converse(connection: socket.socket, server: ScriptedServer) -> None:
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
            conversation(secured, server)

    def begin(connection: socket.socket, server: ScriptedServer) -> None:
        threading.Thread(target=converse, args=(connection.dup(), server), daemon=True).start()

    return begin


def deliver_at_once(deliverer: Deliverer, server: ScriptedServer, count: int) -> list[str]:
    """Deliver in as many threads; tell what became of each."""
    with ThreadPoolExecutor(count) as threads:
        outcomes = threads.map(lambda _: deliverer.deliver(MESSAGE, app_at(server)), range(count))
        return [str(each.what) for each in outcomes]


def test_closing_hangs_everything_up(ground: Ground) -> None:
    hung_up = threading.Event()

    def until_the_end(connection: socket.socket, server: ScriptedServer) -> None:
        server.read_request(connection)
        connection.sendall(response(b""))
        assert connection.recv(1) == b""
        hung_up.set()

    with ground.server(until_the_end) as server:
        transport: Connections = ground.transport()
        assert Deliverer(transport, allowed_local=[f"{HOST}:{server.port}"]).deliver(MESSAGE, app_at(server)).ok
        transport.close()
        assert hung_up.wait(5)
