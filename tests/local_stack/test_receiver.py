"""The app on this machine checks what is forwarded to it, keeps it, and misbehaves on demand."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest

from gatehouse.errors import SettingError
from gatehouse.forwarding.connections import Connections
from gatehouse.forwarding.deliver import App, Deliverer, Delivery, Message, Patience
from gatehouse.forwarding.sign import message_id, new_secret
from local.child_process import CHECKOUT
from local.receiver import MOST_KEPT, Conduct, Receiver

pytestmark = pytest.mark.req("R2", "O2")

SECRET = new_secret()
BODY = b'{ "event":"charge.success" }\n'
LINES: list[str] = []


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A running receiver that knows our secret."""
    LINES.clear()
    made = Receiver([SECRET], say=LINES.append)
    made.start()
    yield made
    made.stop()


def deliver(receiver: Receiver, number: int = 1, secret: str = SECRET, attempts: int = 1) -> Delivery:
    """Forward an event to it, as the worker will."""
    message = Message(message_id("paystack", str(number)), "paystack", "charge.success", BODY)
    patience = Patience(attempts, attempt_seconds=0.5, waits_milliseconds=(1,))
    transport = Connections()
    try:
        deliverer = Deliverer(transport, patience=patience, allowed_local=[receiver.address])
        return deliverer.deliver(message, App(f"{receiver.url}/hooks?x=1", (secret,)))
    finally:
        transport.close()


def order(receiver: Receiver, method: str, path: str, content: object = None) -> httpx.Response:
    return httpx.request(method, receiver.url + path, content=json.dumps(content).encode())


def test_what_is_forwarded_is_checked_kept_and_told(receiver: Receiver) -> None:
    assert deliver(receiver).status_code == 200
    (received,) = httpx.get(f"{receiver.url}/_received").json()["received"]
    assert (received["path"], received["body"], received["status"]) == ("/hooks?x=1", BODY.decode(), 200)
    assert (received["id"], received["is_genuine"]) == (message_id("paystack", "1"), True)
    assert (received["event"], received["gateway"]) == ("charge.success", "paystack")
    assert received["headers"]["x-router-source"] == "nexai-paystack-router"
    (line,) = LINES
    assert f"200  charge.success from paystack, {len(BODY)} characters: {received['id']}" in line


def test_what_another_secret_signed_is_refused_and_kept_all_the_same(receiver: Receiver) -> None:
    refused = deliver(receiver, secret=new_secret())
    assert (refused.what, refused.status_code) == ("final", 400)
    assert "no signature matches" in str(refused.error_message)
    (received,) = receiver.received
    assert (received.id, received.is_genuine, received.status) == ("", False, 400)
    assert httpx.post(f"{receiver.url}/hooks", content=BODY).status_code == 400
    assert "400  something from somebody" in LINES[1]


def test_a_second_delivery_of_a_message_shows(receiver: Receiver) -> None:
    for number in (1, 2, 1):
        assert deliver(receiver, number).ok
    assert [each.is_repeated for each in receiver.received] == [False, False, True]
    assert LINES[2].endswith("again")


def test_one_path_can_be_ill_alone(receiver: Receiver) -> None:
    receiver.behave(Conduct("status", 503, path="/dead"))
    assert deliver(receiver).status_code == 200
    assert httpx.post(f"{receiver.url}/dead/hooks", content=BODY).status_code == 400  # not signed comes first
    receiver.behave(Conduct("status", 503, path="/hooks"))
    assert deliver(receiver, 2).status_code == 503


def test_the_last_ones_are_kept_until_they_are_forgotten(receiver: Receiver) -> None:
    for number in range(MOST_KEPT + 2):
        deliver(receiver, number)
    assert [receiver.received[0].id, len(receiver.received)] == [message_id("paystack", "2"), MOST_KEPT]
    assert order(receiver, "DELETE", "/_received").status_code == 200
    assert receiver.received == []


def test_it_answers_with_a_status_as_often_as_it_is_told(receiver: Receiver) -> None:
    order(receiver, "PUT", "/_control/conduct", {"kind": "status", "status": 503, "times": 2})
    delivery = deliver(receiver, attempts=3)
    assert (delivery.what, delivery.attempt_count) == ("delivered", 3)
    order(receiver, "PUT", "/_control/conduct", {"kind": "status", "status": 429, "retry_after_seconds": 7})
    assert deliver(receiver).retry_after_seconds == 7
    order(receiver, "PUT", "/_control/conduct", {"kind": "status", "status": 204, "times": 1})
    assert deliver(receiver).status_code == 204
    order(receiver, "PUT", "/_control/conduct", {"kind": "status", "status": 410})
    assert deliver(receiver).what == "gone"
    order(receiver, "DELETE", "/_control/conduct")
    assert deliver(receiver).status_code == 200


def test_it_is_slow_or_down(receiver: Receiver) -> None:
    receiver.behave(Conduct("slow", seconds=5, times=1))
    began = time.monotonic()
    assert deliver(receiver).error_class == "TIMEOUT"
    assert time.monotonic() - began < 3
    receiver.behave(Conduct("slow", seconds=0.1, times=1))
    assert deliver(receiver).ok
    receiver.behave(Conduct("down", times=1))
    assert deliver(receiver).error_class == "NETWORK"
    assert receiver.received[-1].status == 0
    assert deliver(receiver).ok


def test_its_secrets_rotate(receiver: Receiver) -> None:
    new = new_secret()
    assert order(receiver, "PUT", "/_control/secrets", {"secrets": [new]}).status_code == 200
    assert deliver(receiver).status_code == 400
    assert deliver(receiver, secret=new).ok


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("PUT", "/_control/conduct", {"kind": "earthquake"}, 400),
        ("PUT", "/_control/conduct", {"kind": "status", "status": 100}, 400),
        ("PUT", "/_control/conduct", {"sort": "status"}, 400),
        ("PUT", "/_control/conduct", "text", 400),
        ("PUT", "/_control/secrets", {"secrets": ["short"]}, 400),
        ("PUT", "/_control/secrets", {"secrets": []}, 400),
        ("GET", "/_control/nothing", None, 404),
        ("GET", "/hooks", None, 405),
    ],
)
def test_nonsense_is_refused(receiver: Receiver, method: str, path: str, content: object, status: int) -> None:
    assert order(receiver, method, path, content).status_code == status
    assert deliver(receiver).ok


def test_it_does_not_start_without_a_secret() -> None:
    with pytest.raises(SettingError):
        Receiver([])


def test_it_runs_on_its_own() -> None:
    command = [sys.executable, "-m", "local.receiver", "--port", "0", "--secret", SECRET]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[2].rstrip(";")
            assert httpx.get(f"{url}/_received").json() == {"received": []}
        finally:
            process.terminate()
