"""Everything between Stripe and the rows, in real parts, each of which can be taken away.

    front ── stripe_webhook ──┬─ intake proxy ─┬─ PgBouncer ── server proxy ── Postgres, with fsync
             inbox_replayer ──┘                │
             invoice_enricher, job_sweeper ────┴─ worker proxy
             all of them ── SQS proxy, secrets proxy ── moto; invoice_enricher ── a stand-in of Stripe's API

The functions are the template's, under the real runtime client. Queues are polled by its event source mappings.
"""

import base64
import copy
import json
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from gatehouse.aws import AwsClient
from gatehouse.errors import ConnectionError, TimeoutError
from gatehouse.migrations.engine import Engine
from gatehouse.migrations.sessions import Target
from gatehouse.models import accounts
from gatehouse.sealing import Keyring
from local.gateway_accounts import GatewayAccount
from local.gateway_apis import GatewayApi
from local.http_front import HttpFront
from local.lambda_runtime import LambdaFunction
from local.moto_server import MotoServer
from local.postgres import PostgresServer, free_port
from local.queue_pollers import QueuePoller
from local.sam_expansion import read_template
from local.stripe_api import StripeApi
from local.template import FunctionSpec, Stack, load_stack
from tests.faults.proxies import AwsProxy, SteeredProxy
from tests.faults.stream import DEFAULT, MERCHANTS, SECOND, SIGNING_SECRETS, StripeEvent
from tests.support import pgbouncer
from tests.support.gatehouse_database import OWNER, ROLE_PASSWORD, ROLES, GatehouseDatabase, make_roles
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import create_database, database_name, run_sql, running_server
from tests.support.queues import CREDENTIALS
from tests.support.stack import wait_until

CHECKOUT = Path(__file__).parents[2]
WEBHOOK = "StripeWebhookFunction"
SWEEPER = "JobSweeperFunction"
API_KEY = "sk_test_of_the_tests"
KEYS = {"current": "k1", "keys": {"k1": base64.b64encode(bytes(range(32))).decode()}}

# Short budgets, so that a minute holds many faults; what is short is the waiting, not what is done.
STATEMENT_MILLISECONDS = 600
AWAY_SECONDS = 1
ENVIRONMENT = {
    "DATABASE_TLS": "off",
    "DATABASE_CONNECT_MILLISECONDS": "300",
    "DATABASE_STATEMENT_MILLISECONDS": str(STATEMENT_MILLISECONDS),
    "DATABASE_AWAY_SECONDS": str(AWAY_SECONDS),
}
VISIBILITY_SECONDS = 1  # instead of minutes: a killed consumer's messages come back at once, some of them too early
MOST_ENVIRONMENTS = 3
SETTLE_SECONDS = 180.0  # a message whose replayer was killed comes back after the 120 seconds of its queue
TIME_THAT_PASSES = "interval '10 minutes'"  # longer than any lease and any time between two bells


class LastCall:
    """A connection to SQS that is closed after the call that is under way: a poller leaves one behind."""

    def __init__(self, client: AwsClient) -> None:
        self._client = client
        self._turn = threading.Lock()
        self._is_over = False

    def call(self, action: str, parameters: Mapping[str, Any], *, timeout_seconds: float) -> dict[str, Any]:
        """Call one action of SQS."""
        try:
            with self._turn:
                return self._client.call(action, parameters, timeout_seconds=timeout_seconds)
        finally:
            if self._is_over:
                self._client.close()

    def end(self) -> None:
        """Close the connection, now or by the thread that is using it."""
        self._is_over = True
        if self._turn.acquire(blocking=False):
            self._client.close()
            self._turn.release()


class Ground:
    """The whole way of an event, and what was sent along it so far."""

    def __init__(self, others: Sequence[GatewayAccount] = ()) -> None:
        self._others = others  # accounts at other gateways, whose events a test sends itself
        self.sent: dict[str, StripeEvent] = {}
        self.acknowledged: set[str] = set()
        self.faults: Counter[str] = Counter()
        self.lines: deque[str] = deque(maxlen=4000)  # what the functions said last, for whoever looks for a cause
        self.keyring = Keyring(KEYS)
        self._started = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._started.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    # --- what events need ---

    @contextmanager
    def door(
        self, webhook_spec: FunctionSpec | None = None, /, function_id: str = WEBHOOK, **environment: str
    ) -> Iterator[str]:
        """Open the front with webhook functions of its own, whose settings may differ; return its address."""
        webhook = self._function(webhook_spec or self.stack.functions[function_id], environment)
        front = HttpFront(self.stack.routes, {function_id: webhook}, 0, on_error=self.lines.append)
        front.start()
        try:
            yield f"http://127.0.0.1:{front.port}"
        finally:
            front.stop()
            webhook.stop()

    @contextmanager
    def consumers(self) -> Iterator[None]:
        """Let every queue of the template be worked through."""
        with ExitStack() as started:

            def client() -> LastCall:
                made = LastCall(self._aws("sqs"))
                started.callback(made.end)
                return made

            for mapping in self.stack.mappings:
                poller = QueuePoller(
                    mapping,
                    self.functions[mapping.function_id],
                    client,
                    on_batch=lambda _: None,
                    first_backoff_seconds=0.1,
                    long_poll_seconds=1,
                )
                started.callback(poller.stop)
                poller.start()
            yield

    def will_send(self, events: Sequence[StripeEvent]) -> None:
        """Note what is going to be sent; Stripe's API knows of its own money at once."""
        for event in events:
            self.sent[event.id] = event
            self.stripe.gateway.learn(event.body)

    def sweep(self) -> bool:
        """Run the sweeper as its schedule does; tell whether it came to its end."""
        return not self.functions[SWEEPER].invoke(b"{}").failed

    def let_time_pass(self) -> None:
        """Let ten minutes pass for the jobs: leases end, and bells are due, also where a worker is still at work."""
        self.under_faults.sql(
            f"update jobs set due_at = due_at - {TIME_THAT_PASSES}, ring_after = ring_after - {TIME_THAT_PASSES}, "
            f"lease_until = lease_until - {TIME_THAT_PASSES} where status in ('waiting', 'leased')"
        )

    # --- faults ---

    def kill(self, function: str) -> int:
        """Kill every process of a function, at work or frozen; return how many there were."""
        killed = 0
        for folder in Path("/proc").iterdir():
            if folder.name.isdecimal() and self._is_process_of(function, folder):
                with suppress(ProcessLookupError):  # it may have ended just now
                    os.kill(int(folder.name), signal.SIGKILL)
                    killed += 1
        return killed

    def restart_pooler(self) -> None:
        """Kill PgBouncer and start it anew at its address; without one, end every connection."""
        if self.pooler is None:
            self.server_link.cut_all()
            return
        port = self.pooler.port
        self.pooler.stop()
        self._start_pooler(port)

    def heal(self) -> None:
        """Bring back all that may be away."""
        run = self.server.data / "postmaster.pid"
        if not run.exists():
            self.server.start()
        for proxy in (self.intake_link, self.worker_link, self.server_link, self.sqs_link, self.secrets_link):
            proxy.heal()
        wait_until(self._answers)

    def settle(self) -> None:
        """Bring everything back, and wait until the inbox is empty and every job is done."""
        self.heal()
        time.sleep(AWAY_SECONDS)  # until then the functions would leave Postgres alone
        with self.consumers():
            deadline = time.monotonic() + SETTLE_SECONDS
            while waiting := self.messages_in("InboxQueue"):
                assert time.monotonic() < deadline, f"{waiting} messages stay in the inbox{self._last_lines()}"
                time.sleep(0.05)
            while self.unfinished_jobs():
                assert time.monotonic() < deadline, f"jobs are left: {self._jobs_left()}{self._last_lines()}"
                self.let_time_pass()
                self.sweep()
                with suppress(AssertionError):  # then more time has to pass
                    wait_until(lambda: self.unfinished_jobs() == 0, seconds=1)
            assert self.messages_in("InboxDeadLetterQueue") == 0

    # --- looking ---

    def copy_of(self, database: GatehouseDatabase) -> GatehouseDatabase:
        """Return a copy of a database, in which something may be spoiled."""
        self.restart_pooler()  # nobody may be connected to what is copied
        address = create_database(self.server, template=database_name(database.address), owner=OWNER)
        return database._replace(address=address)

    def unfinished_jobs(self) -> int:
        """Return how many jobs are not done yet."""
        return int(self.under_faults.sql("select count(*) from jobs where status <> 'done'")[0][0])

    def messages_in(self, queue: str) -> int:
        """Return how many messages a queue holds, those with a consumer included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        request = {"QueueUrl": self.stack.queues[queue], "AttributeNames": names}
        found = self.sqs.call("GetQueueAttributes", request, timeout_seconds=10)["Attributes"]
        return sum(int(found[name]) for name in names)

    def _answers(self) -> bool:
        """Tell whether Postgres is there for the functions: after a crash it recovers, and PgBouncer waits a while."""
        for role, link in (("intake", self.intake_link), ("worker", self.worker_link)):
            database = self.under_faults.through(link.port).connect(role)
            try:
                database.query("select 1 as one")
            except (ConnectionError, TimeoutError):
                return False
            finally:
                database.close()
        return True

    def _last_lines(self) -> str:
        words = [line for line in self.lines if "_aws" not in line]
        return "\n".join(["; the functions said last:", *words[-40:]])

    def _jobs_left(self) -> list[list[Any]]:
        return self.under_faults.sql("select id, status, attempts, last_error from jobs where status <> 'done' limit 5")

    # --- the start, in order ---

    def _start(self) -> None:
        self.moto = MotoServer(free_port())
        self.moto.launch()
        self._started.callback(self.moto.stop)
        self.server = self._started.enter_context(running_server(fsync="on", full_page_writes="on"))
        self._make_databases()
        self._stand_between()
        self.stripe = GatewayApi(StripeApi())
        self.stripe.start()
        self._started.callback(self.stripe.stop)
        self.moto.wait_until_ready()
        self.sqs = self._aws("sqs")
        self._started.callback(self.sqs.close)
        self.sqs_link, self.secrets_link = AwsProxy(self.moto.port), AwsProxy(self.moto.port)
        for link in (self.sqs_link, self.secrets_link):
            self._started.callback(link.stop)
        self.stack = self._read_template()
        self.functions = {name: self._function(spec, {}) for name, spec in self.stack.functions.items()}
        for function in self.functions.values():
            self._started.callback(function.stop)

    def _make_databases(self) -> None:
        """Make two migrated databases: the one under faults, and the one that nothing disturbs."""
        make_roles(self.server.url())
        for role in ROLES:
            run_sql(self.server.url(), f"ALTER ROLE {role} SET statement_timeout = '{STATEMENT_MILLISECONDS}ms'")
        address = create_database(self.server, owner=OWNER)
        owned = self.server.url(database_name(address), OWNER, quote(ROLE_PASSWORD))
        Engine(Target("primary", owned, tls="off"), CHECKOUT / "migrations" / "primary").up()
        self.undisturbed = GatehouseDatabase(address, "127.0.0.1", self.server.port)
        self._open_second_account(self.undisturbed)
        other = create_database(self.server, template=database_name(address), owner=OWNER)
        self.under_faults = GatehouseDatabase(other, "127.0.0.1", self.server.port)

    def _open_second_account(self, database: GatehouseDatabase) -> None:
        """Give another merchant an account, which is known from the database alone."""
        ops = database.connect("ops")
        accounts.add_merchant(ops, MERCHANTS[SECOND], "Another merchant")
        accounts.add_account(
            ops,
            self.keyring,
            gateway="stripe",
            account=SECOND,
            merchant=MERCHANTS[SECOND],
            mode="both",
            credentials={"signing_secrets": [SIGNING_SECRETS[SECOND]], "api_key": API_KEY},
        )
        ops.close()

    def _stand_between(self) -> None:
        """Put PgBouncer, where it is installed, and the proxies between the functions and Postgres."""
        self.server_link = SteeredProxy(self.server.port)
        self._started.callback(self.server_link.stop)
        self.pooler: PgBouncer | None = None
        if pgbouncer.installed():
            self._start_pooler(free_port())
            self._started.callback(self._stop_pooler)
        behind = self.pooler.port if self.pooler else self.server_link.port
        self.intake_link, self.worker_link = SteeredProxy(behind), SteeredProxy(behind)
        for link in (self.intake_link, self.worker_link):
            self._started.callback(link.stop)

    def _start_pooler(self, port: int) -> None:
        behind_the_proxy: PostgresServer = copy.copy(self.server)
        behind_the_proxy.port = self.server_link.port
        self.pooler = PgBouncer(behind_the_proxy)
        self.pooler.port = port
        self.pooler.start()

    def _stop_pooler(self) -> None:
        if self.pooler is not None:
            self.pooler.stop()

    def _read_template(self) -> Stack:
        client = self._aws("secretsmanager")

        def put(name: str, content: dict[str, Any]) -> str:
            request = {"Name": f"faults/{name}", "SecretString": json.dumps(content)}
            return str(client.call("CreateSecret", request, timeout_seconds=10)["ARN"])

        def addresses(role: str, port: int) -> dict[str, str]:
            url = self.under_faults.through(port).url(role)
            return {"pooled_url": url, "direct_url": url}

        template = CHECKOUT / "template.yaml"
        stripe = {"signing_secrets": [SIGNING_SECRETS[DEFAULT]], "api_key": API_KEY, "mode": "both"}
        nobody = put("nobody", {})  # the accounts of gateways that send nothing here
        declared = read_template(template)["Parameters"]
        parameters = {
            **{name: nobody for name in declared if name.endswith("SecretArn")},
            "Stage": "local",
            "IntakeDatabaseSecretArn": put("intake", addresses("intake", self.intake_link.port)),
            "WorkerDatabaseSecretArn": put("worker", addresses("worker", self.worker_link.port)),
            "DataKeysSecretArn": put("keys", KEYS),
            "StripeSecretArn": put("stripe", stripe),
            "StripeApiUrl": self.stripe.url,
            **{f"{each.parameter_prefix}SecretArn": put(each.name, dict(each.secret)) for each in self._others},
        }
        client.close()
        stack = load_stack(template, parameters, self.moto.endpoint)
        for mapping in stack.mappings:
            attributes = {"VisibilityTimeout": str(VISIBILITY_SECONDS)}
            request = {"QueueUrl": mapping.queue_url, "Attributes": attributes}
            self.sqs.call("SetQueueAttributes", request, timeout_seconds=10)
        return stack

    def _function(self, spec: FunctionSpec, environment: dict[str, str]) -> LambdaFunction:
        links = {
            "AWS_ENDPOINT_URL_SQS": self.sqs_link.url,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.secrets_link.url,
        }
        return LambdaFunction(
            replace(spec, environment={**spec.environment, **ENVIRONMENT, **links, **environment}),
            on_line=lambda name, line: self.lines.append(f"{name} {line}"),
            most_environments=MOST_ENVIRONMENTS,
            aws_endpoint=self.moto.endpoint,
        )

    def _aws(self, service: str) -> AwsClient:
        return AwsClient(service, region="us-east-1", endpoint_url=self.moto.endpoint, credentials=lambda: CREDENTIALS)

    def _is_process_of(self, function: str, folder: Path) -> bool:
        """Tell whether a process runs this function and belongs to us: another stack may run it too."""
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if f"{function}.handler.handler".encode() not in words:
                return False
            return f"AWS_ENDPOINT_URL_SQS={self.sqs_link.url}".encode() in (folder / "environ").read_bytes().split(
                b"\0"
            )
        except OSError:  # it has ended
            return False
