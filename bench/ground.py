"""What is measured on: a Postgres that waits for its disk, migrated, and the AWS services that the functions ask."""

import base64
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

from gatehouse.accounts import GatewayAccount
from gatehouse.aws import AwsClient
from gatehouse.database.connection import Database
from gatehouse.intake.accounts import AccountDirectory
from gatehouse.intake.inbox import Inbox
from gatehouse.intake.receive import Desk
from gatehouse.intake.rejected import Rejections
from gatehouse.jobs.bell import Bell
from gatehouse.migrations.engine import Engine
from gatehouse.migrations.sessions import Target
from gatehouse.sealing import Keyring
from local.child_process import CHECKOUT
from local.lambda_runtime import LambdaFunction
from local.moto_server import MotoServer
from local.postgres import PostgresServer, free_port
from local.template import FunctionSpec, Stack, load_stack
from tests.support.gatehouse_database import OWNER, ROLE_PASSWORD, GatehouseDatabase, make_roles
from tests.support.postgres import chosen_binaries, create_database, database_name
from tests.support.queues import CREDENTIALS
from tests.support.stripe_requests import SECRET

DATA_KEYS = {"current": "k1", "keys": {"k1": base64.b64encode(bytes(range(32))).decode()}}
KEPT_PASSWORD = "only-for-measuring"  # noqa: S105 - of a server that listens on 127.0.0.1 while it is measured
ACCOUNT = GatewayAccount("stripe", "default", "default", "both", (SECRET,))


@dataclass(frozen=True)
class Ground:
    """A migrated database on a server of its own."""

    server: PostgresServer
    database: GatehouseDatabase

    def pgbench(self, script: str, *, transactions: int, role: str = "gatehouse_intake", **variables: str) -> float:
        """Run a script over one connection, prepared, and return the median of its times in milliseconds."""
        return self.pgbench_at(self.server.port, script, transactions=transactions, role=role, **variables)

    def pgbench_at(
        self, port: int, script: str, *, transactions: int, role: str, mode: str = "prepared", **variables: str
    ) -> float:
        """Run a script against the server, or a pooler before it."""
        with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as folder:
            file = Path(folder) / "script.sql"
            file.write_text(script)
            command: list[str | Path] = [
                *(self.server.binaries / "pgbench", "--no-vacuum", f"--protocol={mode}", "--client=1"),
                *(f"--transactions={transactions}", f"--file={file}", "--log", f"--log-prefix={folder}/log"),
                *(f"--define={name}={value}" for name, value in variables.items()),
                *("--host=127.0.0.1", f"--port={port}", f"--username={role}", database_name(self.database.address)),
            ]
            environment = {**os.environ, "PGPASSWORD": ROLE_PASSWORD}
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            if done.returncode:
                raise RuntimeError(f"pgbench failed: {done.stderr}")
            # A line of the log is: client, transaction, microseconds, script, second, microsecond
            [log] = Path(folder).glob("log.*")
            return median(int(line.split()[2]) for line in log.read_text().splitlines()) / 1000

    def backend_of(self, role: str) -> int:
        """Return the process id of the only server process that works for a role."""
        working = self.database.sql("select usename, pid from pg_stat_activity where usename is not null")
        [process_id] = [pid for name, pid in working if name == f"gatehouse_{role}"]
        return int(process_id)


@contextmanager
def ground(**settings: str) -> Iterator[Ground]:
    """Start Postgres with fsync on in a temporary folder, migrate a database, and remove all of it at the end."""
    with bench_server(None, **settings) as server:
        yield Ground(server, migrated_database(server))


@contextmanager
def bench_server(kept: Path | None, **settings: str) -> Iterator[PostgresServer]:
    """Start Postgres with fsync on and with our roles; in a folder that is given, all of it stays there at the end."""
    folder = kept or Path(tempfile.mkdtemp(prefix="gatehouse-bench-postgres-"))
    server = PostgresServer(
        folder,
        port=free_port(),
        password=KEPT_PASSWORD if kept else secrets.token_urlsafe(12),
        settings={"max_connections": "100", **settings},
        binaries=chosen_binaries(),
    )
    try:
        server.start()
        make_roles(server.url())
        yield server
    finally:
        server.stop("fast" if kept else "immediate")
        if not kept:
            server.erase()
            shutil.rmtree(folder, ignore_errors=True)


def migrated_database(server: PostgresServer) -> GatehouseDatabase:
    """Make one more database on a server, with everything that the migrations make."""
    address = create_database(server, owner=OWNER)
    owner = server.url(database_name(address), OWNER, quote(ROLE_PASSWORD))
    Engine(Target("primary", owner, tls="off"), CHECKOUT / "migrations" / "primary").up()
    return GatehouseDatabase(address, "127.0.0.1", server.port)


class SilentSqs(AwsClient):
    """Takes every message at once: SQS's own time is not ours to measure, and moto's is no likeness of it."""

    def __init__(self) -> None:
        super().__init__("sqs", region="us-east-1", endpoint_url="http://nowhere", credentials=lambda: CREDENTIALS)

    def call(self, action: str, parameters: object, *, timeout_seconds: float) -> dict[str, Any]:  # noqa: ARG002 - the signature is AwsClient's
        """Answer that all went well."""
        return {}


def desk(database: Database) -> Desk:
    """Return what intake works with, for a measurement inside this process."""
    keyring = Keyring(DATA_KEYS)
    secret = {"signing_secrets": [SECRET], "mode": "both"}
    directory = AccountDirectory("stripe", lambda: database, lambda: keyring, lambda _refresh: secret)
    bell = Bell(SilentSqs(), queues={"enrichment": "http://queue"}, dead_letters={"enrichment": "http://dead"})
    inbox = Inbox(bell, "http://inbox", "http://inbox-dead")
    return Desk(
        database=lambda: database,
        keyring=lambda: keyring,
        accounts=lambda _gateway: directory,
        bell=lambda: bell,
        inbox=lambda: inbox,
        rejections=Rejections(),
    )


class Cloud:
    """moto with the secrets and queues of the template, and the template's functions as Lambda would run them."""

    def __init__(self, moto: MotoServer, ground: Ground, started: ExitStack, *, port: int | None = None) -> None:
        self.endpoint = moto.endpoint
        self._started = started
        reached = ground.database.through(port) if port else ground.database
        self.stack: Stack = load_stack(CHECKOUT / "template.yaml", self._parameters(reached), moto.endpoint)

    def function(self, spec: FunctionSpec, *, most_environments: int = 1, **variables: str) -> LambdaFunction:
        """Return a function that runs until the cloud goes."""
        environment = {**spec.environment, "DATABASE_TLS": "off", **variables}
        function = LambdaFunction(
            replace(spec, environment=environment, reserved_concurrency=None),
            on_line=lambda _function, _line: None,
            most_environments=most_environments,
            aws_endpoint=self.endpoint,
        )
        self._started.callback(function.stop)
        return function

    def spec(self, folder_name: str) -> FunctionSpec:
        """Return the template's function whose handler is in this folder."""
        return next(each for each in self.stack.functions.values() if each.handler.startswith(f"{folder_name}."))

    def _parameters(self, database: GatehouseDatabase) -> dict[str, str]:
        client = AwsClient(
            "secretsmanager", region="us-east-1", endpoint_url=self.endpoint, credentials=lambda: CREDENTIALS
        )

        def put(name: str, content: dict[str, Any]) -> str:
            request = {"Name": f"bench/{name}", "SecretString": json.dumps(content)}
            return str(client.call("CreateSecret", request, timeout_seconds=10)["ARN"])

        parameters = {"Stage": "local"}
        for role in ("intake", "worker", "api", "ops"):
            url = database.url(role)
            parameters[f"{role.title()}DatabaseSecretArn"] = put(role, {"direct_url": url, "pooled_url": url})
        parameters["OwnerDatabaseSecretArn"] = put("owner", {"direct_url": "", "pooled_url": ""})
        parameters["DataKeysSecretArn"] = put("data-keys", DATA_KEYS)
        held = {"signing_secrets": [SECRET], "api_key": "sk_test_bench", "mode": "both"}
        for gateway in ("Stripe", "Paypal", "Paystack", "Sayswitch", "MxMerchant"):
            parameters[f"{gateway}SecretArn"] = put(gateway, held)
        client.close()
        return parameters


@contextmanager
def cloud(ground: Ground, *, port: int | None = None) -> Iterator[Cloud]:
    """Start moto with what the template needs; `port` puts a pooler before the database."""
    with ExitStack() as started:
        moto = MotoServer(free_port())
        started.callback(moto.stop)
        moto.launch()
        moto.wait_until_ready()
        yield Cloud(moto, ground, started, port=port)


def intake(ground: Ground, *, port: int | None = None) -> Database:
    """Return the database as the webhook functions see it."""
    return (ground.database.through(port) if port else ground.database).connect("intake")


def cpu_seconds(process_id: int) -> float:
    """Return the CPU time that a process's main thread has used, to the nanosecond where /proc tells it so."""
    return int(Path(f"/proc/{process_id}/schedstat").read_text().split()[0]) / 1e9


def function_processes(handler: str) -> list[int]:
    """Return our processes that run this handler."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it ended meanwhile
            continue
        # local/lambda_environment.py: python environment_process.py OUR_PID HANDLER
        if words[2:4] == [str(os.getpid()).encode(), handler.encode()]:
            found.append(int(folder.name))
    return found
