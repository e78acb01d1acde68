"""An app to deliver to: a scripted server on this machine, over real TLS and under a name of the public Internet."""

import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from gatehouse.forwarding.connections import Connections
from gatehouse.forwarding.deliver import App, Deliverer, Delivery, Message, Patience
from gatehouse.forwarding.sign import message_id
from tests.support.scripted_server import Conversation, ScriptedServer
from tests.support.tls import Authority

HOST = "hooks.example.com"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
# Order, spaces and the last line break are part of what is signed.
BODY = b'{ "event":"charge.success",\n  "data": {"reference": "T563902343", "amount": 4620.00} }\n'
MESSAGE = Message(message_id("paystack", "default", "1"), "paystack", "charge.success", BODY)
QUICK = Patience(attempt_seconds=2.0, waits_milliseconds=(1, 2, 4))


class AnyHalf(Random):
    """Chance that always lands in the middle."""

    def random(self) -> float:
        """Return one half."""
        return 0.5


@dataclass
class Ground:
    """What delivers in a test: it trusts the test's authority, and its look-ups lead to this machine."""

    authority: Authority
    waits: list[float] = field(default_factory=list)
    lookups: list[str] = field(default_factory=list)
    addresses: Sequence[str] = ("127.0.0.1",)
    connections: list[Connections] = field(default_factory=list)

    def server(self, *conversations: Conversation, name: str = HOST) -> ScriptedServer:
        """Return a server, not started yet, whose certificate is for a name."""
        return ScriptedServer(*conversations, tls=self.authority.server_context(name))

    def lookup(self, host: str) -> Sequence[str]:
        """Answer as DNS would."""
        self.lookups.append(host)
        return self.addresses

    def transport(self, now: Callable[[], float] = time.time) -> Connections:
        """Return connections of this test's own, which are hung up at its end."""
        trust = ssl.create_default_context(cafile=self.authority.root_file)
        self.connections.append(Connections(lookup=self.lookup, trust=trust, now=now))
        return self.connections[-1]

    def deliverer(
        self, *servers: ScriptedServer, patience: Patience = QUICK, now: Callable[[], float] = time.time
    ) -> Deliverer:
        """Return a deliverer that may write to these servers, and waits no longer than it notes down."""
        return Deliverer(
            self.transport(),
            patience=patience,
            allowed_local=[f"{HOST}:{server.port}" for server in servers],
            sleep=self.waits.append,
            random=AnyHalf(),
            now=now,
        )

    def deliver(self, server: ScriptedServer, patience: Patience = QUICK, message: Message = MESSAGE) -> Delivery:
        """Deliver one message to a server."""
        return self.deliverer(server, patience=patience).deliver(message, app_at(server))


def app_at(server: ScriptedServer, path: str = "/hooks?token=t0ken", **headers: str) -> App:
    """Return the app that listens there, with headers of its own."""
    return App(f"https://{HOST}:{server.port}{path}", (SECRET,), headers)


def headers_of(request: bytes) -> dict[str, str]:
    """Return the headers of a request that a server has kept."""
    lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def body_of(request: bytes) -> bytes:
    """Return the body of a request that a server has kept."""
    return request.partition(b"\r\n\r\n")[2]
