"""An app on this machine to forward to: checks each signature, says in one line what it got, keeps the last ones.

    .venv/bin/python -m local.receiver --port 9100 --secret whsec_…

    POST   /any/path           a forwarded event
    GET    /_received          the last of them as JSON, the newest last
    DELETE /_received          forget them

It answers 200, or 400 to what is not signed by one of its secrets. For tests it does worse on demand:

    PUT    /_control/conduct   {"kind": "status", "status": 503, "times": 2, "retry_after_seconds": 1}
                               {"kind": "slow", "seconds": 5}     {"kind": "down"}: hangs up without an answer
    DELETE /_control/conduct   … "path": "/dead" in any of them: only what comes to paths that begin so
    PUT    /_control/secrets   {"secrets": ["whsec_…"]}
"""

import argparse
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from gatehouse.errors import SettingError, SignatureRefused
from gatehouse.forwarding.sign import check_secrets, verify
from local.gateway_apis import ApiAnswer

KINDS = ("status", "slow", "down")
CONTROL, RECEIVED = "/_control/", "/_received"
MOST_KEPT = 100
MOST_BODY_BYTES = 2 * 1024 * 1024


@dataclass
class Conduct:
    """What the next requests meet, as often as `times` says (None: until it is taken away)."""

    kind: str
    status: int = 500
    times: int | None = None
    seconds: float = 5.0  # how slow
    retry_after_seconds: int | None = None
    path: str = "/"  # what the paths begin with to which this happens

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no conduct {self.kind!r}; there are {', '.join(KINDS)}")
        if not 200 <= self.status <= 599:
            raise ValueError(f"{self.status} is no status that ends a request")


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    at: str
    path: str
    headers: dict[str, str]
    body: str
    id: str  # "" where the signature does not hold
    event: str
    gateway: str
    is_genuine: bool
    is_repeated: bool  # the same id was here before
    reason: str  # why it is not genuine
    status: int  # what was answered; 0 for hanging up

    def line(self) -> str:
        """Return it as one line."""
        what = f"{self.event or 'something'} from {self.gateway or 'somebody'}"
        notes = [note for note in (self.id, "again" if self.is_repeated else "", self.reason) if note]
        return f"{self.at[11:19]}    {self.status or '---'}  {what}, {len(self.body)} characters: {', '.join(notes)}"


class Receiver:
    """The app's HTTP server, on a port of its own."""

    def __init__(
        self,
        secrets: Sequence[str],
        port: int = 0,
        *,
        say: Callable[[str], None] = lambda _: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        check_secrets(secrets)
        self._secrets = list(secrets)
        self._say = say
        self._now = now
        self._conduct: Conduct | None = None
        self._received: deque[Received] = deque(maxlen=MOST_KEPT)
        self._turn = threading.Lock()
        self._stopped = threading.Event()
        self._server = _server_of(self, port)
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)

    @property
    def address(self) -> str:
        """Return host and port, as the list of allowed local targets has them."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """Return the address that an app would be given."""
        return f"http://{self.address}"

    @property
    def received(self) -> list[Received]:
        """Return what was received last, the newest last."""
        with self._turn:
            return list(self._received)

    def start(self) -> None:
        """Begin to receive."""
        self._thread.start()

    def stop(self) -> None:
        """Receive no more."""
        self._stopped.set()
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def behave(self, conduct: Conduct | None) -> None:
        """Let the next requests meet this; None ends it."""
        with self._turn:
            self._conduct = conduct

    def take(self, path: str, headers: dict[str, str], body: bytes) -> ApiAnswer | None:
        """Check a request, keep it and return the answer; None to hang up."""
        conduct = self._next_conduct(path)
        if conduct is not None and conduct.kind == "slow":
            self._stopped.wait(conduct.seconds)
        message_id, reason = self._checked(headers, body)
        answer = _answer(conduct, reason)
        with self._turn:
            received = Received(
                at=datetime.fromtimestamp(self._now(), UTC).isoformat(),
                path=path,
                headers=headers,
                body=body.decode("utf-8", "replace"),
                id=message_id,
                event=headers.get("x-gatehouse-event", ""),
                gateway=headers.get("x-gatehouse-gateway", ""),
                is_genuine=not reason,
                is_repeated=bool(message_id) and any(each.id == message_id for each in self._received),
                reason=reason,
                status=0 if answer is None else answer.status,
            )
            self._received.append(received)
        self._say(received.line())
        return answer

    def control(self, method: str, path: str, body: bytes) -> ApiAnswer:
        """Carry out one order of the control path."""
        try:
            match method, path:
                case "GET", "/_received":
                    return ApiAnswer(200, {"received": [asdict(each) for each in self.received]})
                case "DELETE", "/_received":
                    with self._turn:
                        self._received.clear()
                case "PUT", "/_control/conduct":
                    self.behave(Conduct(**json.loads(body)))
                case "DELETE", "/_control/conduct":
                    self.behave(None)
                case "PUT", "/_control/secrets":
                    secrets = list(json.loads(body)["secrets"])
                    check_secrets(secrets)
                    self._secrets = secrets
                case _:
                    return ApiAnswer(404, {"error": f"there is no {method} {path}"})
        except (ValueError, TypeError, KeyError, AttributeError, SettingError) as reason:
            return ApiAnswer(400, {"error": str(reason)})
        return ApiAnswer(200, {"ok": True})

    def _checked(self, headers: dict[str, str], body: bytes) -> tuple[str, str]:
        """Return the message's id and "", or "" and why it is not genuine."""
        try:
            return verify(headers, body, self._secrets, now=self._now()), ""
        except SignatureRefused as reason:
            return "", str(reason)

    def _next_conduct(self, path: str) -> Conduct | None:
        with self._turn:
            conduct = self._conduct
            if conduct is not None and not path.startswith(conduct.path):
                return None
            if conduct is not None and conduct.times is not None:
                conduct.times -= 1
                if conduct.times <= 0:
                    self._conduct = None
            return conduct


def _answer(conduct: Conduct | None, reason: str) -> ApiAnswer | None:
    if conduct is not None and conduct.kind == "down":
        return None
    if reason:
        return ApiAnswer(400, {"error": reason})
    if conduct is None or conduct.kind == "slow":
        return ApiAnswer(200, {"ok": True})
    later = conduct.retry_after_seconds
    headers = {} if later is None else {"Retry-After": str(later)}
    return ApiAnswer(conduct.status, {"error": "as ordered"}, headers)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # as many connections as wait to be taken; one more is tried again a whole second later

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report a failed answer, unless the sender just hung up, as one does that got no answer in time."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _server_of(receiver: Receiver, port: int) -> _Server:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _respond(self) -> None:
            length = self.headers.get("Content-Length") or "0"
            if not (length.isascii() and length.isdigit()) or int(length) > MOST_BODY_BYTES:
                self.close_connection = True
                return self._send(ApiAnswer(413, {"error": "how much is that?"}))
            body = self.rfile.read(int(length))
            path = urlsplit(self.path).path
            if path == RECEIVED or path.startswith(CONTROL):
                return self._send(receiver.control(self.command, path, body))
            if self.command != "POST":
                return self._send(ApiAnswer(405, {"error": "events are POSTed"}, {"Allow": "POST"}))
            answer = receiver.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            if answer is None:
                self.close_connection = True
                return None
            return self._send(answer)

        def _send(self, answer: ApiAnswer) -> None:
            content = json.dumps(answer.body, indent=2).encode()
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            if answer.status not in (204, 304):
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if answer.status not in (204, 304):
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _respond

        def log_message(self, *_: object) -> None:
            """Say nothing: the receiver says its own line."""

    return _Server(("127.0.0.1", port), Handler)


def main() -> None:
    """Receive until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="local.receiver", description="An app on this machine to forward to.")
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--secret", action="append", required=True, help="may be given several times")
    given = parser.parse_args()
    receiver = Receiver(given.secret, given.port, say=lambda line: print(line, flush=True))
    receiver.start()
    print(f"receiving at {receiver.url}; Ctrl-C ends it", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        receiver.stop()


if __name__ == "__main__":
    main()
