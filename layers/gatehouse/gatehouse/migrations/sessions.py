"""Opens sessions for a runner: on the direct address only, and one runner at a time."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gatehouse.database.direct_session import DirectSession, connect_direct
from gatehouse.database.login import parse_address
from gatehouse.database.sql import load_statements
from gatehouse.errors import DatabaseError, MigrationRefused, RunnerBusy

Tell = Callable[[str], None]

# One lock a database: Postgres keeps advisory locks of different databases apart. The number says nothing.
RUNNER_LOCK = 0x6761_7465_6D69_6772  # "gatemigr"
LOCK_POLL_SECONDS = 0.2
WORK_APPLICATION = "gatehouse migrate work"

OPTIONS = {
    # A step may take long, and nobody speaks on the lock's session meanwhile: no time-out of a role may end them.
    "statement_timeout": "0",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    # So that a server whose runner's machine vanished lets go of the lock after a minute, and not after two hours.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
# A server goes on with a long statement although its client is gone, and keeps its locks; with this it looks.
WORK_OPTIONS = {**OPTIONS, "client_connection_check_interval": "1000"}
READ_OPTIONS = {**OPTIONS, "default_transaction_read_only": "on"}

POOLED = (
    "this address goes through a connection pooler, where a session's locks and settings reach other clients:"
    " give the direct address (direct_url in the secret, or POSTGRES_URL_NON_POOLING)"
)

# How PgBouncer (and Neon's) and RDS Proxy refuse a startup option.
POOLERS_REFUSE_OPTIONS = ("unsupported startup parameter", "command-line options")

sql = load_statements(Path(__file__).with_name("runner.sql"))


@dataclass(frozen=True, slots=True)
class Target:
    """One database to migrate."""

    database: str  # primary or backup
    address: str
    tls: str = "verify"
    tls_root_file: str = ""
    connect_milliseconds: int = 10_000  # a database that sleeps when idle needs seconds to wake up

    def __repr__(self) -> str:
        return f"<Target {self.description}>"

    @property
    def description(self) -> str:
        """Return which database this is, in words that hold no password."""
        address = parse_address(self.address)
        return f"{self.database}: {address.database} on {address.host}:{address.port} as {address.user}"


def open_reader(target: Target) -> DirectSession:
    """Open a session that cannot change anything, whatever it is asked to do."""
    return _open(target, "gatehouse migrate read", READ_OPTIONS)


def open_worker(target: Target) -> DirectSession:
    """Open the session that runs migrations, as the owner of the database."""
    return _open(target, WORK_APPLICATION, WORK_OPTIONS)


def become_owner(session: DirectSession) -> None:
    """Forget all settings of the session; as a superuser, act as the owner of the database.

    What a superuser makes would belong to it: the owner could not change it in a later migration, and a SECURITY
    DEFINER function of a superuser is held by no row-level security.
    """
    session.run("discard all")
    who = session.query(sql.who_and_where())[0]
    if who["is_superuser"] and who["owner"] != who["session_user"]:
        session.query(sql.act_as(role=who["owner"]))


@contextmanager
def runner_lock(target: Target, wait_seconds: float, tell: Tell) -> Iterator[None]:
    """Hold the lock of this database's runners; wait for another runner so long, then raise RunnerBusy.

    The lock lives on a session of its own that is in no transaction: CREATE INDEX CONCURRENTLY waits for every
    transaction that is older, and would wait for ever for the one that holds its own runner's lock. For the same
    reason waiting is asking again and again, not one statement that blocks.
    """
    with _open(target, "gatehouse migrate lock", OPTIONS) as session:
        deadline = time.monotonic() + wait_seconds
        told = False
        while not session.query(sql.try_lock(key=RUNNER_LOCK))[0]["taken"]:
            if time.monotonic() >= deadline:
                raise RunnerBusy(
                    f"{target.database}: {_holder(session)} still works after {wait_seconds:g} s: try again later"
                )
            if not told:
                tell(f"{target.database}: {_holder(session)} is at work; waiting up to {wait_seconds:g} s for it")
                told = True
            time.sleep(LOCK_POLL_SECONDS)
        ended = session.query(sql.end_orphans(application=WORK_APPLICATION))[0]["ended"]
        if ended:
            tell(f"{target.database}: ended what a killed runner had left running in the database")
        yield


def _holder(session: DirectSession) -> str:
    holders = session.query(sql.lock_holder(key=RUNNER_LOCK))
    if not holders:
        return "another runner"
    return "another runner (role {role} from {client} since {since}, server process {pid})".format(**holders[0])


def _open(target: Target, application: str, options: dict[str, str]) -> DirectSession:
    """Connect, and refuse an address behind which a pooler sits.

    The proof is a startup option that nobody but us knows: poolers in transaction mode refuse options or drop them,
    a Postgres shows it back. Comparing process ids proves less: hosted Postgres puts a proxy before the direct
    address too, one that keeps sessions apart and only invents its own ids.
    """
    if "-pooler." in (parse_address(target.address).host):
        raise MigrationRefused(f"{target.description}: {POOLED}")
    probe = secrets.token_hex(8)
    try:
        session = connect_direct(
            target.address,
            application=application,
            options={"gatehouse.direct_probe": probe, **options},
            connect_milliseconds=target.connect_milliseconds,
            tls=target.tls,
            tls_root_file=target.tls_root_file,
        )
    except DatabaseError as refused:
        if any(words in str(refused) for words in POOLERS_REFUSE_OPTIONS):
            raise MigrationRefused(f"{target.description}: {POOLED}") from refused
        raise
    try:
        if session.query(sql.who_and_where())[0]["probe"] != probe:
            raise MigrationRefused(f"{target.description}: {POOLED}")
    except BaseException:
        session.close()
        raise
    return session
