"""A migrated database and the roles that log into it, as the functions do."""

from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from gatehouse.database.connection import Database
from tests.support.database import database_at
from tests.support.postgres import run_sql

ROLE_PASSWORD = "only for tests"
ROLES = ("gatehouse_intake", "gatehouse_worker", "gatehouse_api", "gatehouse_ops")
BACKUP_ROLES = ("gatehouse_backup_writer", "gatehouse_backup_reader")
OWNER = "gatehouse_owner"


class GatehouseDatabase(NamedTuple):
    """One migrated database: its superuser address, and where its roles connect."""

    address: str
    host: str
    port: int

    def url(self, role: str) -> str:
        """Return the address for one of the roles."""
        name = urlsplit(self.address).path[1:]
        return f"postgresql://gatehouse_{role}:{quote(ROLE_PASSWORD)}@{self.host}:{self.port}/{name}"

    def connect(self, role: str, **options: Any) -> Database:
        """Return a Database for one of the roles: intake, worker, api, ops or owner."""
        return database_at(self.url(role), **options)

    def sql(self, text: str) -> list[list[Any]]:
        """Run SQL as the superuser, past every policy."""
        return run_sql(self.address, text)

    def through(self, port: int) -> "GatehouseDatabase":
        """Return the same database behind a pooler or proxy on another port."""
        return self._replace(port=port)


def make_roles(server_address: str) -> None:
    """Make the login roles of the functions, once per server."""
    for role in (*ROLES, *BACKUP_ROLES, OWNER):
        extra = "CREATEROLE" if role == OWNER else ""
        run_sql(
            server_address,
            f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role}; "
            f"END IF; END $$; ALTER ROLE {role} LOGIN {extra} PASSWORD '{ROLE_PASSWORD}'",
        )
