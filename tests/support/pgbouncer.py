"""A PgBouncer in transaction mode, as strict as the poolers of hosted Postgres."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from local.postgres import UNPRIVILEGED_USER, PostgresServer, free_port

MISSING = "pgbouncer is not on PATH (Debian: apt-get install pgbouncer)"

# Roles are looked up in the server, so that a test may make a role and log in through the pooler at once.
# Startup options beyond the usual ones stay refused (the default): a pooled address must work without them.
CONFIGURATION = """
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
default_pool_size = {pool_size}
max_client_conn = 200
server_login_retry = 1
"""


def installed() -> bool:
    """Tell whether pgbouncer is on PATH."""
    return shutil.which("pgbouncer") is not None


class PgBouncer:
    """One pooler in front of one server; every database and role of the server works through it."""

    def __init__(self, server: PostgresServer, pool_size: int = 3) -> None:
        self.server = server
        self.port = free_port()
        self.pool_size = pool_size
        self._folder = Path(tempfile.mkdtemp(prefix="gatehouse-test-pgbouncer-"))
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        """Return the pooled address of a database."""
        return f"postgresql://{user}:{password or self.server.password}@127.0.0.1:{self.port}/{database}"

    def pooled(self, address: str) -> str:
        """Return the pooled address of a direct one."""
        return address.replace(f"@127.0.0.1:{self.server.port}/", f"@127.0.0.1:{self.port}/")

    def start(self) -> None:
        """Start the pooler and return when it listens."""
        configuration = self._folder / "pgbouncer.ini"
        users = self._folder / "users.txt"
        users.write_text(f'"postgres" "{self.server.password}"\n')
        configuration.write_text(
            CONFIGURATION.format(
                postgres_port=self.server.port, port=self.port, folder=self._folder, pool_size=self.pool_size
            )
        )
        if os.geteuid() == 0:  # PgBouncer refuses to run as root
            for path in (self._folder, configuration, users):
                shutil.chown(path, UNPRIVILEGED_USER)
        self._process = subprocess.Popen(
            ["pgbouncer", "-q", str(configuration)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            user=UNPRIVILEGED_USER if os.geteuid() == 0 else None,
        )
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.025)
        log = self._folder / "pgbouncer.log"
        raise RuntimeError(f"pgbouncer does not listen: {log.read_text() if log.exists() else 'no log'}")

    def stop(self) -> None:
        """Stop the pooler at once and remove its folder."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
