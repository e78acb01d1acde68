"""Starts everything that `make run` needs, in order, and ends it in the opposite order.

    supervisor = Supervisor(RunOptions(port=8080), Terminal())
    stack = supervisor.start()     # what stack.json says
    supervisor.stop()

Tests use it in their own process, with another template, folder and port. Processes that it starts die with it, also
when it is killed; Postgres, which does not, is ended by the next start.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from console.sessions import seal_link
from gatehouse.aws import AwsClient
from gatehouse.errors import AwsError, GatehouseError, MigrationRefused
from gatehouse.sealing import Keyring
from gatehouse.settings import AwsCredentials
from local import forwarding, kept_messages, local_database, pooler, stack_file
from local.gateway_accounts import GatewayAccount, gateway_accounts
from local.http_front import HttpFront
from local.import_check import check_imports
from local.kept_secrets import KeptPorts, KeptSecrets, is_free
from local.lambda_runtime import LambdaFunction
from local.moto_server import MotoServer
from local.observed_function import ObservedFunction
from local.observed_metrics import ObservedMetrics
from local.pooler import Pooler
from local.postgres import PostgresError, PostgresServer, stop_leftover
from local.queue_pollers import QueuePoller
from local.receiver import Receiver
from local.sam_expansion import REGION
from local.schedules import Schedules
from local.template import Stack, TemplateError, load_stack
from local.tenant_engines import TenantEngines
from local.terminal import Terminal

CHECKOUT = Path(__file__).resolve().parent.parent
BACKUP_FOLDER = "backup_postgres"
INBOX_QUEUE = "InboxQueue"  # what lies in it exists nowhere else, and moto forgets
API_HANDLER = "analytics_api."
CONSOLE_HANDLER = "console."
FORWARDER_HANDLER = "event_forwarder."
BACKUP_HANDLER = "backup_writer."
DRAIN_SECONDS = 5.0


class StartRefused(Exception):
    """The stack cannot start; the text is one line that says why and what to do."""


@dataclass(frozen=True)
class RunOptions:
    """What to start, and where."""

    port: int = 8080
    template: Path = CHECKOUT / "template.yaml"
    migrations: Path = CHECKOUT / "migrations" / "primary"
    backup_migrations: Path = CHECKOUT / "migrations" / "backup"
    folder: Path = CHECKOUT / ".local"
    fresh: bool = False
    most_environments: int = 8  # processes that one function may have
    postgres_settings: Mapping[str, str] = field(default_factory=dict)
    postgres_binaries: Path | None = None
    schedule_every_seconds: float | None = None  # in the place of every schedule
    first_backoff_seconds: float = 1.0  # after a batch of a queue that failed; twice as long after the next


class Supervisor:
    """Everything that `make run` has started."""

    def __init__(self, options: RunOptions, terminal: Terminal) -> None:
        self.options = options
        self.terminal = terminal
        self.stack: dict[str, Any] = {}  # what stack.json says
        self.accounts: list[GatewayAccount] = []  # the gateways that the template has a webhook for
        self.template: Stack | None = None
        self.functions: dict[str, ObservedFunction] = {}
        self._started = ExitStack()

    # --- for whoever runs it ---

    def start(self) -> dict[str, Any]:
        """Start everything and return what stack.json says; raise StartRefused, with nothing left behind."""
        try:
            self._start()
        except MigrationRefused as reason:
            self.stop()
            first, *others = str(reason).splitlines()
            more = f" (and {len(others)} more)" if others else ""
            raise StartRefused(f"{first}{more}; or FRESH=1, which starts clean") from reason
        except (PostgresError, TemplateError, GatehouseError, RuntimeError) as reason:
            self.stop()
            raise StartRefused(" ".join(str(reason).split())) from reason
        except BaseException:
            self.stop()
            raise
        return self.stack

    def stop(self) -> None:
        """Take no more requests, finish what waits in the inbox, and end everything."""
        self._started.close()

    @property
    def database_server(self) -> PostgresServer:
        """Return the server of the primary database."""
        return self._server

    @property
    def kept_secrets(self) -> KeptSecrets:
        """Return the secrets of this stack."""
        return self._kept

    def stop_postgres(self) -> None:
        """Let Postgres go away, as an outage does; the rest goes on."""
        self._server.stop("immediate")

    def start_postgres(self) -> None:
        """Bring Postgres back at the same address."""
        self._server.start()

    def sqs(self) -> AwsClient:
        """Return a new connection to the queues."""
        return self._aws_client("sqs")

    def stop_backup(self) -> None:
        """Let the backup's Postgres go away, as an outage does; the rest goes on."""
        if self._backup_server:
            self._backup_server.stop("immediate")

    def start_backup(self) -> None:
        """Bring the backup's Postgres back at the same address."""
        if self._backup_server:
            self._backup_server.start()

    # --- in the order of the start ---

    def _start(self) -> None:
        folder = self.options.folder
        folder.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        if not is_free(self.options.port):
            raise StartRefused(f"port {self.options.port} is taken: choose another one, as with `make run PORT=8081`")
        self._started.callback(stack_file.remove, folder)
        self._metrics = ObservedMetrics(folder)
        self._started.callback(self._metrics.stop)
        self._server = self._postgres_server()
        self._ports = KeptPorts(folder)
        moto = self._launch_moto()
        self._start_postgres()
        self._start_backup_postgres()
        pooled_port = self._start_pooler()
        self._start_tenant_engines()
        moto.wait_until_ready()
        self._sqs = self._aws_client("sqs")

        known = gateway_accounts(self._kept, self._ports, folder)
        parameters = self._put_secrets(known, pooled_port)
        stack = self._read_template(known, parameters)
        if waited := kept_messages.give_back(folder, stack.queues, self._sqs):
            self.terminal.say(f"  {waited} messages of the last run are back in their queues")
        check_imports(stack.functions.values(), self.terminal.function_broken)
        receiver = self._start_receiver(stack)
        functions = self._functions(stack, receiver)
        self.template, self.functions = stack, functions
        self._metrics.keep_definitions(stack)
        self._start_pollers(stack, functions)
        self._metrics.watch(_names_of_queues(stack), lambda: self._aws_client("sqs"))
        self._start_schedules(stack, functions)
        self._start_front(stack, functions)
        self.stack = {
            **self._description(stack, pooled_port),
            "receiver_url": "" if receiver is None else receiver.url + forwarding.PATH,
            "command_line": self._command_line_environment(parameters, stack, receiver),
        }
        if self._backup_server:
            local_database.tell_backup(self._server, self._backup_server)
        stack_file.write(folder, self.stack)

    def _take_lock(self) -> None:
        file = (self.options.folder / "run.lock").open("a+")
        self._started.callback(file.close)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise StartRefused(f"it is running already: {holder}; end that one with Ctrl-C first") from None
        file.truncate(0)
        file.write(f"pid {os.getpid()} at http://127.0.0.1:{self.options.port}\n")
        file.flush()

    def _postgres_server(self) -> PostgresServer:
        """Return the server with the data of earlier runs, or without where a clean start is asked for."""
        folder = self.options.folder
        self._kept = KeptSecrets(folder)
        server = PostgresServer(
            folder / "postgres",
            port=0,
            password=self._kept.password("postgres"),
            settings=dict(self.options.postgres_settings),
            binaries=self.options.postgres_binaries,
        )
        stop_leftover(server.data)
        self._complete = server.folder / "complete"  # there once the cluster was made and has started
        # Data of an earlier checkout in this place: its passwords went with its .local folder.
        is_foreign = self._kept.was_new and not server.data.is_relative_to(folder.resolve())
        self._is_new = self.options.fresh or is_foreign or not self._complete.exists()
        if self._is_new:
            shutil.rmtree(server.data, ignore_errors=True)
            kept_messages.forget(folder)
        elif self._kept.was_new:
            self._kept.forget()
            raise StartRefused(f"{folder}/secrets.json is gone, and with it the keys to the data: FRESH=1 starts clean")
        return server

    def _launch_moto(self) -> MotoServer:
        self._moto = MotoServer(self._ports.port("moto"), self.options.folder / kept_messages.MESSAGES)
        self._started.callback(self._moto.stop)
        self._moto.launch()
        return self._moto

    def _start_postgres(self) -> None:
        self._server.port = self._ports.port("postgres")
        self._started.callback(self._end_postgres)
        self._server.start()
        self._complete.touch()
        local_database.make_database(self._server, self._kept)
        for name in local_database.migrate(self._server, self._kept, self.options.migrations):
            self.terminal.say(f"  migrated {name}")
        local_database.let_roles_log_in(self._server, self._kept)

    def _start_backup_postgres(self) -> None:
        """Start the second server, where the template writes a backup; its data goes when the first one's goes."""
        self._backup_server = None
        if BACKUP_HANDLER not in self.options.template.read_text(encoding="utf-8"):
            return
        server = PostgresServer(
            self.options.folder / BACKUP_FOLDER,
            port=0,
            password=self._kept.password("postgres"),
            settings={"shared_buffers": "32MB", **self.options.postgres_settings},
            binaries=self.options.postgres_binaries,
        )
        stop_leftover(server.data)
        server.port = self._ports.port("backup_postgres")
        complete = server.folder / "complete"
        if self._is_new or not complete.exists():
            shutil.rmtree(server.data, ignore_errors=True)
        self._started.callback(_end, server)
        server.start()
        complete.touch()
        local_database.make_database(server, self._kept)
        for name in local_database.migrate(server, self._kept, self.options.backup_migrations, "backup"):
            self.terminal.say(f"  migrated {name} (backup)")
        local_database.let_roles_log_in(server, self._kept, local_database.BACKUP_ROLES.values())
        self._backup_server = server

    def _start_pooler(self) -> int | None:
        """Start PgBouncer where it is installed, and return its port."""
        if not pooler.is_installed():
            return None
        bouncer = Pooler(self._server, self._ports.port("pgbouncer"))
        self._started.callback(bouncer.stop)
        bouncer.launch()
        bouncer.wait_until_ready()
        return bouncer.port

    def _start_tenant_engines(self) -> None:
        """Prepare this machine to make tenants' databases, where the template does."""
        self._tenants: TenantEngines | None = None
        if TenantEngines.are_wanted(self.options.template):
            self._tenants = TenantEngines(self._server, self._kept, self._ports)
            self._started.callback(self._tenants.neon.stop)
            self._tenants.start()

    def _put_secrets(self, known: Sequence[GatewayAccount], pooled_port: int | None) -> dict[str, str]:
        """Put every secret into Secrets Manager and return the template's parameters that name them."""
        client = self._aws_client("secretsmanager")

        def put(name: str, content: Mapping[str, Any]) -> str:
            request = {"Name": f"gatehouse/local/{name}", "SecretString": json.dumps(content)}
            return str(client.call("CreateSecret", request, timeout_seconds=10)["ARN"])

        parameters = {"Stage": "local"}
        for word, role in local_database.ROLES.items():
            direct = self._server.url(local_database.NAME, role, self._kept.password(role))
            content = {"direct_url": direct, "pooled_url": self._pooled(direct, pooled_port) or direct}
            parameters[f"{word.title()}DatabaseSecretArn"] = put(f"{word}-database", content)
        if self._backup_server:
            for word, role in local_database.BACKUP_ROLES.items():
                direct = self._backup_server.url(local_database.NAME, role, self._kept.password(role))
                name = "".join(part.title() for part in word.split("_"))
                parameters[f"{name}DatabaseSecretArn"] = put(
                    f"{word}-database", {"direct_url": direct, "pooled_url": direct}
                )
        keys = {"current": "k1", "keys": {"k1": self._kept.key("data_key_1")}}
        parameters["DataKeysSecretArn"] = put("data-keys", keys)
        for account in known:
            parameters[f"{account.parameter_prefix}SecretArn"] = put(account.name, account.secret)
        if self._tenants:
            parameters |= self._tenants.parameters(put)
        client.close()
        return parameters

    def _read_template(self, known: Sequence[GatewayAccount], parameters: dict[str, str]) -> Stack:
        """Read the template, with a stand-in's address for a gateway's API; start those that it has webhooks for."""
        for account in known:
            if account.api:
                self._started.callback(account.api.stop)
                parameters[f"{account.parameter_prefix}ApiUrl"] = account.api.url
        stack = load_stack(self.options.template, parameters, self._moto.endpoint)
        self.accounts = [account for account in known if _webhook_of(account, stack) is not None]
        for account in self.accounts:
            if account.api:
                account.api.start()
        return stack

    def _start_receiver(self, stack: Stack) -> Receiver | None:
        """Start an app to forward to, where the template forwards at all."""
        if not any(spec.handler.startswith(FORWARDER_HANDLER) for spec in stack.functions.values()):
            return None
        keyring = Keyring({"current": "k1", "keys": {"k1": self._kept.key("data_key_1")}})
        database = local_database.connect(self._server.url(local_database.NAME))
        try:
            secrets = forwarding.secrets_of_app(database, keyring)
            receiver = Receiver(
                secrets, self._ports.port("receiver"), say=lambda line: self.terminal.say(f"{'':10}app: {line}")
            )
            self._started.callback(receiver.stop)
            receiver.start()
            forwarding.tell_where(database, keyring, receiver)
        finally:
            database.close()
        return receiver

    def _functions(self, stack: Stack, receiver: Receiver | None) -> dict[str, ObservedFunction]:
        listeners = {_webhook_of(account, stack): account.api.gateway for account in self.accounts if account.api}
        # For all, and not the webhooks alone: inbox_replayer checks what could not be checked when it came.
        local_settings = {"DATABASE_TLS": "off"} | ({"FORWARDING_ALLOWED_LOCAL": receiver.address} if receiver else {})
        for account in self.accounts:
            local_settings |= account.settings
        functions = {}
        for logical_id, spec in stack.functions.items():
            function = LambdaFunction(
                replace(spec, environment={**spec.environment, **local_settings}),
                on_line=self._on_line,
                most_environments=self.options.most_environments,
                aws_endpoint=self._moto.endpoint,
            )
            self._started.callback(function.stop)
            functions[logical_id] = ObservedFunction(function, self.terminal, listeners.get(logical_id), self._metrics)
        return functions

    def _on_line(self, function: str, line: str) -> None:
        self._metrics.line(function, line)
        self.terminal.function_line(function, line)

    def _start_pollers(self, stack: Stack, functions: Mapping[str, ObservedFunction]) -> None:
        logical_ids = {url: logical_id for logical_id, url in stack.queues.items()}
        for mapping in stack.mappings:
            function = functions[mapping.function_id]
            poller = QueuePoller(
                mapping,
                function,
                lambda: self._aws_client("sqs"),
                on_batch=partial(self.terminal.batch, function.short_name, logical_ids[mapping.queue_url]),
                first_backoff_seconds=self.options.first_backoff_seconds,
            )
            self._started.callback(poller.stop)
            poller.start()
        if INBOX_QUEUE in stack.queues:
            self._started.callback(self._drain, stack.queues[INBOX_QUEUE])

    def _start_schedules(self, stack: Stack, functions: Mapping[str, ObservedFunction]) -> None:
        schedules = Schedules(
            stack.schedules,
            functions,
            on_run=lambda schedule, outcome: self.terminal.scheduled(
                functions[schedule.function_id].short_name, schedule, outcome
            ),
            every_seconds=self.options.schedule_every_seconds,
        )
        self._started.callback(schedules.stop)
        schedules.start()

    def _start_front(self, stack: Stack, functions: Mapping[str, ObservedFunction]) -> None:
        front = HttpFront(
            stack.routes,
            functions,
            self.options.port,
            on_request=partial(self._on_request, functions),
            on_error=self.terminal.say,
        )
        self._started.callback(front.stop)
        front.start()

    def _on_request(
        self,
        functions: Mapping[str, ObservedFunction],
        method: str,
        route_key: str,
        path: str,
        status: int,
        milliseconds: float,
        function_id: str,
    ) -> None:
        self._metrics.requested(status, milliseconds)
        # The route, not the path: a path may hold the secret token of a gateway that signs nothing.
        route = f"{method} {route_key.rpartition(' ')[2]}" if route_key else f"{method} {path} (no such route)"
        name = functions[function_id].short_name if function_id else ""
        self.terminal.request(status, route, name, milliseconds)

    def _description(self, stack: Stack, pooled_port: int | None) -> dict[str, Any]:
        """Return what stack.json says."""
        api_url = f"http://127.0.0.1:{self.options.port}"
        database_url = self._server.url(local_database.NAME)
        return {
            "pid": os.getpid(),
            "api_url": api_url,
            "database_url": database_url,
            "pooled_database_url": self._pooled(database_url, pooled_port),
            "backup_database_url": self._backup_server.url(local_database.NAME) if self._backup_server else "",
            "sqs_endpoint": self._moto.endpoint,
            "queues": dict(stack.queues),
            "api_key": self._api_key(stack),
            "console_url": self._console_url(stack, api_url),
            **({"tenants": self._tenants_description(api_url)} if self._tenants else {}),
            "gateways": {
                account.name: {
                    "url": api_url + account.path,
                    **({"api_url": account.api.url} if account.api else {}),
                    **account.shown,
                }
                for account in self.accounts
            },
        }

    def _tenants_description(self, api_url: str) -> dict[str, str]:
        assert self._tenants  # noqa: S101 - asked for only where there are some
        return {
            "url": f"{api_url}/api/v1/tenants",
            "cluster_url": self._server.url(),
            "neon_api_url": self._tenants.neon_url,
        }

    def _api_key(self, stack: Stack) -> str:
        """Return a key to the API; empty where the template has none."""
        if not any(spec.handler.startswith(API_HANDLER) for spec in stack.functions.values()):
            return ""
        return local_database.make_api_key(self._server, self._kept)

    def _console_url(self, stack: Stack, api_url: str) -> str:
        """Return a link that signs an operator into the console; empty where the template has none."""
        if not any(spec.handler.startswith(CONSOLE_HANDLER) for spec in stack.functions.values()):
            return ""
        keyring = Keyring({"current": "k1", "keys": {"k1": self._kept.key("data_key_1")}})
        ticket = seal_link(keyring, local_database.make_console_key(self._server, self._kept), time.time())
        return f"{api_url}/console/sign-in?ticket={ticket}"

    def _command_line_environment(
        self, parameters: Mapping[str, str], stack: Stack, receiver: Receiver | None
    ) -> dict[str, str]:
        """Return the settings with which `gatehouse` commands talk to this stack, as ops do to a deployed one."""
        queues = {
            f"{name.removesuffix('DeadLetterQueue').removesuffix('Queue').upper()}"
            f"{'_DLQ_URL' if name.endswith('DeadLetterQueue') else '_QUEUE_URL'}": url
            for name, url in stack.queues.items()
        }
        return {
            "STAGE": "local",
            "AWS_ENDPOINT_URL": self._moto.endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "DATABASE_TLS": "off",
            "DATABASE_SECRET_ARN": parameters["OpsDatabaseSecretArn"],
            "DATA_KEYS_SECRET_ARN": parameters["DataKeysSecretArn"],
            "PUBLIC_API_URL": f"http://127.0.0.1:{self.options.port}",
            **(
                {"BACKUP_DATABASE_SECRET_ARN": parameters["BackupWriterDatabaseSecretArn"]}
                if self._backup_server
                else {}
            ),
            **({"FORWARDING_ALLOWED_LOCAL": receiver.address} if receiver else {}),
            **{
                name: value
                for account in self.accounts
                for name, value in account.settings.items()
                if name.endswith("_API_URL")
            },
            **(self._tenants.command_line(parameters) if self._tenants else {}),
            **queues,
        }

    # --- at the stop, and what several steps use ---

    def _drain(self, queue_url: str) -> None:
        """Give the pollers time to bring what waits in the inbox into Postgres."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while waiting := self._messages_in(queue_url):
            if time.monotonic() > deadline:
                self.terminal.say(f"  still in the inbox: {waiting}; the next run brings it into Postgres")
                return
            time.sleep(0.1)

    def _end_postgres(self) -> None:
        _end(self._server)

    def _messages_in(self, queue_url: str) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        request = {"QueueUrl": queue_url, "AttributeNames": names}
        try:
            found = self._sqs.call("GetQueueAttributes", request, timeout_seconds=5)["Attributes"]
        except AwsError as reason:
            self.terminal.say(f"  the inbox cannot be asked whether it is empty: {reason}")
            return 0
        return sum(int(found[name]) for name in names)

    def _pooled(self, direct_url: str, pooled_port: int | None) -> str:
        """Return the pooled address of a direct one; empty where there is no pooler."""
        if pooled_port is None:
            return ""
        return direct_url.replace(f"@127.0.0.1:{self._server.port}/", f"@127.0.0.1:{pooled_port}/")

    def _aws_client(self, service: str) -> AwsClient:
        return AwsClient(
            service,
            region=REGION,
            endpoint_url=self._moto.endpoint,
            credentials=lambda: AwsCredentials("test", "test", ""),
        )


def _names_of_queues(stack: Stack) -> dict[str, str]:
    """Return the addresses of the queues by the names that AWS knows them by."""
    return {url.rpartition("/")[2]: url for url in stack.queues.values()}


def _end(server: PostgresServer) -> None:
    """Stop Postgres, also when it was interrupted in the middle of its start and does not know itself yet."""
    for patience_seconds in (0.2, 0.5, 1.0):
        try:
            return server.stop()
        except PostgresError:
            time.sleep(patience_seconds)
    return stop_leftover(server.data)


def _webhook_of(account: GatewayAccount, stack: Stack) -> str | None:
    """Return the logical id of the gateway's webhook function, where the template has one."""
    with_route = {route.function_id for route in stack.routes}
    for logical_id, spec in stack.functions.items():
        if spec.handler.startswith(f"{account.name}_webhook.") and logical_id in with_route:
            return logical_id
    return None
