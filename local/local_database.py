"""The databases `gatehouse` on the local servers: who owns them, what they are marked as, and who may log in."""

from collections.abc import Iterable
from pathlib import Path

from gatehouse.backup.tend import keep_configuration
from gatehouse.backup.writer import primary_sql
from gatehouse.database.connection import Database
from gatehouse.migrations.engine import DEVELOPMENT, Engine
from gatehouse.migrations.sessions import Target
from gatehouse.models import api_keys
from local.kept_secrets import KeptSecrets
from local.postgres import PostgresServer

FOLDER = Path(__file__).resolve().parent
NAME = "gatehouse"
OWNER = "gatehouse_owner"
ROLES = {
    "intake": "gatehouse_intake",
    "worker": "gatehouse_worker",
    "api": "gatehouse_api",
    "ops": "gatehouse_ops",
    "owner": OWNER,
}
# On the second server; the owner's name is the same there.
BACKUP_ROLES = {
    "backup_writer": "gatehouse_backup_writer",
    "backup_reader": "gatehouse_backup_reader",
    "backup_owner": OWNER,
}
API_KEY_NAME = "make run"
CONSOLE_KEY_NAME = "make run, the console"
STATEMENT_SECONDS = 5  # how long a statement of a function may run; docs/deploy.md asks the same of a real database


def connect(address: str, *, connect_milliseconds: int = 5000) -> Database:
    """Open a database of this machine."""
    return Database(
        address,
        connect_milliseconds=connect_milliseconds,
        statement_milliseconds=60_000,
        away_seconds=0,
        tls="off",
        application="gatehouse make run",
    )


def make_database(server: PostgresServer, kept: KeptSecrets) -> None:
    """Make the owner and the database where they are not there yet, and mark it as one that may be emptied."""
    database = connect(server.url())
    try:
        roles = database.query(f"SELECT 1 AS found FROM pg_roles WHERE rolname = '{OWNER}'")  # noqa: S608 - a constant
        verb = "ALTER" if roles else "CREATE"
        database.query(f"{verb} ROLE {OWNER} LOGIN CREATEROLE PASSWORD '{kept.password(OWNER)}'")
        if not database.query(f"SELECT 1 AS found FROM pg_database WHERE datname = '{NAME}'"):  # noqa: S608 - as above
            database.query(f"CREATE DATABASE {NAME} OWNER {OWNER}")
        database.query(f"ALTER DATABASE {NAME} SET gatehouse.stage = '{DEVELOPMENT}'")
    finally:
        database.close()


def migrate(server: PostgresServer, kept: KeptSecrets, migrations: Path, database: str = "primary") -> tuple[str, ...]:
    """Apply what is pending, as the owner; return the names of what was applied."""
    target = Target(database, server.url(NAME, OWNER, kept.password(OWNER)), tls="off")
    return Engine(target, migrations).up()


def let_roles_log_in(server: PostgresServer, kept: KeptSecrets, roles: Iterable[str] = ROLES.values()) -> None:
    """Give the functions' roles, which the migrations have made, their passwords."""
    database = connect(server.url())
    try:
        for role in roles:
            if role != OWNER and database.query(f"SELECT 1 AS found FROM pg_roles WHERE rolname = '{role}'"):  # noqa: S608 - constants
                database.query(f"ALTER ROLE {role} LOGIN PASSWORD '{kept.password(role)}'")
                database.query(f"ALTER ROLE {role} SET statement_timeout = '{STATEMENT_SECONDS}s'")
    finally:
        database.close()


def make_api_key(server: PostgresServer, kept: KeptSecrets) -> str:
    """Return a key to the API, of the default merchant and the role ops, that the database knows."""
    return _made_key(server, kept, "api_key", merchant="default", name=API_KEY_NAME)


def make_console_key(server: PostgresServer, kept: KeptSecrets) -> str:
    """Return a key of an operator, who sees all merchants in the console."""
    return _made_key(server, kept, "console_key", merchant=None, name=CONSOLE_KEY_NAME)


def _made_key(server: PostgresServer, kept: KeptSecrets, kept_as: str, *, merchant: str | None, name: str) -> str:
    key = kept.made(kept_as, api_keys.new_key)
    database = connect(server.url(NAME))
    try:
        use = api_keys.use_key(database, key)
        if use is None or use.answer == "unknown":
            api_keys.add_key(database, key, merchant=merchant, role="ops", name=name)
    finally:
        database.close()
    return key


def tell_backup(server: PostgresServer, backup_server: PostgresServer) -> None:
    """Switch the backup on and tell it of keys and accounts: what backup_writer does each minute, before the first."""
    primary, backup = connect(server.url(NAME)), connect(backup_server.url(NAME))
    try:
        primary.query(primary_sql.turn, on=True)
        keep_configuration(primary, backup)
    finally:
        primary.close()
        backup.close()
