"""Events that are recorded, apps that are told over real TLS, and the queue between them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.forwarding.app_rows import set_up
from gatehouse.forwarding.deliver import Deliverer, Patience
from gatehouse.forwarding.silence import Silence
from gatehouse.forwarding.worker import Desk, forward
from gatehouse.gateways import gateway_named
from gatehouse.http_request import PLAIN_CONTENT_TYPE
from gatehouse.intake.record import Delivery, Recorded, record
from gatehouse.jobs.batch import work_through
from gatehouse.sealing import Keyring
from local.receiver import Receiver
from tests.forwarding.apps import HOST, QUICK, SECRET, AnyHalf, Ground
from tests.jobs.test_jobs import Context
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.queues import Queues, sqs_event

ROOT = Path(__file__).parents[2]
CHARGE = ROOT / "events" / "paystack" / "charge.success__2024_ngn_metadata.json"


@dataclass
class Story:
    """One database, one set of queues, and a desk that delivers to receivers of this test."""

    database: GatehouseDatabase
    intake: Database
    worker: Database
    ops: Database
    keyring: Keyring
    queues: Queues
    ground: Ground
    patience: Patience = QUICK
    receivers: list[Receiver] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    # --- the gateway's side ---

    def charge(
        self, app: str | None = "elevenone", *, reference: str | None = None, **data: Any
    ) -> tuple[bytes, Recorded]:
        """Record a Paystack charge; return its bytes and what became of it."""
        payload = json.loads(CHARGE.read_bytes())
        number = uuid4().int % 10**12
        payload["data"] |= {"id": number, "reference": reference or f"ref{number}", **data}
        payload["data"]["metadata"] = {"user_id": "u1", **({"app": app} if app else {})}
        body = json.dumps(payload, indent=1).encode() + b"\n"
        return body, self.event("paystack", body)

    def event(
        self, gateway: str, body: bytes, account: str = "default", content_type: str = PLAIN_CONTENT_TYPE
    ) -> Recorded:
        """Record the event that a gateway's body is."""
        known = gateway_named(gateway)
        told = known.translate(known.read_event(body), account)
        delivery = Delivery(
            GatewayAccount(gateway, account, "default", "both", ("x",)),
            told,
            body,
            _now(self.ops),
            content_type=content_type,
        )
        return record(self.intake, delivery, self.keyring)

    # --- the apps' side ---

    @contextmanager
    def receiver(self, app: str = "elevenone", **settings: Any) -> Iterator[Receiver]:
        """Let an app listen over TLS, and tell Gatehouse where."""
        made = Receiver([SECRET])
        context = self.ground.authority.server_context(HOST)
        made._server.socket = context.wrap_socket(made._server.socket, server_side=True, do_handshake_on_connect=False)
        made.start()
        self.receivers.append(made)
        try:
            self.tell(app, url_of(made), made, **settings)
            yield made
        finally:
            made.stop()

    def tell(self, app: str, url: str, receiver: Receiver | None = None, **settings: Any) -> None:
        """Set an app up, signed with the receiver's secret."""
        headers = settings.pop("headers", None)
        made = set_up(
            self.ops,
            self.keyring,
            "default",
            app,
            {"target_url": url, **settings},
            headers=headers,
            allowed_local=self.allowed_local,
        )
        if made and receiver is not None:
            receiver.control("PUT", "/_control/secrets", json.dumps({"secrets": [made]}).encode())

    @property
    def allowed_local(self) -> tuple[str, ...]:
        """The receivers of this test, under their public name."""
        return tuple(f"{HOST}:{_port(each)}" for each in self.receivers)

    # --- between them ---

    def desk(self) -> Desk:
        """Return what the worker works with."""
        return Desk(
            database=lambda: self.worker,
            keyring=lambda: self.keyring,
            transport=self.transport,
            patience=self.patience,
            allowed_local=self.allowed_local,
            silence=Silence(),
            deliverer=lambda transport, **more: Deliverer(transport, sleep=self.waits.append, random=AnyHalf(), **more),
        )

    @property
    def transport(self) -> Any:
        """One set of connections for the whole test."""
        if not self.ground.connections:
            self.ground.transport()
        return self.ground.connections[0]

    def work(self, *jobs: int, burials: Mapping[int, int] | None = None, threads: int = 10) -> None:
        """Let event_forwarder work on these jobs, or on all that are due."""
        due = jobs or [
            each[0]
            for each in self.rows(
                "select id from jobs where topic = 'forward' and due_at <= now() and status = 'waiting' order by id"
            )
        ]
        bodies = [json.dumps({"job": job, **({"burial": burials[job]} if burials else {})}) for job in due]
        desk = self.desk()
        for start in range(0, len(bodies), 10):
            answer = work_through(
                sqs_event(*bodies[start : start + 10]),
                Context(),
                {"forward": lambda job: forward(job, desk)},
                self.worker,
                self.queues.bell(),
                threads=threads,
                may_be_done_twice=True,
            )
            assert answer == {"batchItemFailures": []}

    def later(self) -> None:
        """Let time pass for what waits: everything is due now, circuits may be probed."""
        self.database.sql(
            "update jobs set due_at = now() - interval '1 s' where status = 'waiting';"
            "update apps set circuit_probe_at = now() - interval '1 s' where circuit_probe_at is not null"
        )

    def rows(self, text: str) -> list[list[Any]]:
        """Look into the database past every policy."""
        return self.database.sql(text)

    def logs(self) -> list[dict[str, Any]]:
        """Return the log rows, oldest first."""
        return self.ops.query("select * from webhook_forward_logs order by id")

    def jobs(self) -> list[dict[str, Any]]:
        """Return the forward jobs, oldest first."""
        return self.ops.query("select * from jobs where topic = 'forward' order by id")


def url_of(receiver: Receiver, path: str = "/hooks?token=t0ken") -> str:
    """Return the address of a receiver, as an app would give it."""
    return f"https://{HOST}:{_port(receiver)}{path}"


def _port(receiver: Receiver) -> int:
    return int(receiver.address.partition(":")[2])


def _now(database: Database) -> Any:
    return database.query_one("select now() as now")["now"]
