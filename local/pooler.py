"""PgBouncer in front of the local Postgres, in transaction mode as hosted poolers are; only where it is installed."""

import os
import shutil
import socket
import subprocess
import time

from local.child_process import end, start
from local.postgres import UNPRIVILEGED_USER, PostgresServer

START_SECONDS = 10

# Roles are looked up in the server, so a role that gets its password later works at once. While Postgres is away
# PgBouncer would let statements wait for two minutes (query_wait_timeout); nobody who waits is helped by that.
CONFIGURATION = """\
[databases]
* = host=127.0.0.1 port={postgres_port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
logfile = {folder}/pgbouncer.log
auth_type = scram-sha-256
auth_file = {folder}/users.txt
auth_user = postgres
auth_query = SELECT usename, passwd FROM pg_shadow WHERE usename = $1
pool_mode = transaction
default_pool_size = 20
max_client_conn = 500
server_login_retry = 1
query_wait_timeout = 2
"""


def is_installed() -> bool:
    """Tell whether pgbouncer is on PATH."""
    return shutil.which("pgbouncer") is not None


class Pooler:
    """One PgBouncer for every database and role of a server."""

    def __init__(self, server: PostgresServer, port: int) -> None:
        self.port = port
        self._server = server
        self._folder = server.folder / "pgbouncer"
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start the process, as the user who owns the server's data: PgBouncer too refuses to run as root."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        configuration, users = self._folder / "pgbouncer.ini", self._folder / "users.txt"
        configuration.write_text(
            CONFIGURATION.format(postgres_port=self._server.port, port=self.port, folder=self._folder)
        )
        users.write_text(f'"postgres" "{self._server.password}"\n')
        user = UNPRIVILEGED_USER if os.geteuid() == 0 else None
        for path in (self._folder, configuration, users):
            path.chmod(0o700 if path.is_dir() else 0o600)
            if user is not None:
                shutil.chown(path, user)
        self._process = start(["pgbouncer", "-q", configuration], user=user)

    def wait_until_ready(self) -> None:
        """Return when it listens."""
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"pgbouncer does not start; see {self._folder / 'pgbouncer.log'}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            end(self._process)
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
