"""Tenants on a Postgres cluster of one's own: a database and four roles each.

The role that we come as may create databases and roles, and is no superuser. It never runs anything inside a tenant's
database, where a trigger or an operator of the tenant's could act with its rights: that is for the tenant's own keeper.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gatehouse.database.direct_session import DirectSession, connect_direct
from gatehouse.database.login import parse_address
from gatehouse.database.sql import load_statements
from gatehouse.errors import DatabaseError, EngineError
from gatehouse.tenants.credentials import Credentials
from gatehouse.tenants.engines import Inventory, Save, State, Wanted
from gatehouse.tenants.links import Safety
from gatehouse.tenants.names import OURS, Names, branch_database, literal, names_of, quoted
from gatehouse.tenants.passwords import verifier

TEMPLATE = "gatehouse_tenant_template"  # made once by a superuser: template_database.sql.template
KEEPERS = "gatehouse_tenant_keepers"  # made with it: what those who migrate may do beyond others
CONNECT_MILLISECONDS = 5000
STATEMENT_MILLISECONDS = 50_000  # a large database takes a while to be copied
CONNECTIONS_OF_A_ROLE = 20

sql = load_statements(Path(__file__).with_name("plain.sql"))


class PlainEngine:
    """One cluster, reached as a role that may create databases and roles."""

    name = "plain"
    can_branch = True

    def __init__(self, address: str, safety: Safety, *, hides_passwords: bool = True, authority: str = "") -> None:
        self._address = address
        self._safety = safety
        self._hides_passwords = hides_passwords
        self._authority = authority

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def make(self, wanted: Wanted) -> Credentials:
        """Make the roles, then the database, then close it to everybody else."""
        names = wanted.names
        with self._session() as session:
            for role, name in wanted.credentials.users.items():
                self._make_role(session, role, name, wanted.credentials.passwords[role])
            self._let_keeper_keep(session, names)
            self._make_database(session, names.database, names.keeper)
            self._close_database(session, names.database, names)
        place = parse_address(self._address)
        return wanted.credentials.at(place.host, place.port, names.database, authority=self._authority)

    def remove(self, wanted: Wanted, branches: Mapping[str, State]) -> None:
        """Drop the branches' databases, the tenant's, and then its roles, which nothing depends on any more."""
        with self._session() as session:
            for branch_id in branches:
                session.run(f"drop database if exists {quoted(branch_database(branch_id))} with (force)")
            self._drop(session, wanted.names)

    def storage_bytes(self, wanted: Wanted) -> int:
        """Return the size of the database."""
        with self._session() as session:
            rows = session.query(sql.size_of(database=wanted.names.database))
        if not rows:
            raise EngineError(f"the database of {wanted.id} is not there", retry_helps=False)
        return int(rows[0]["bytes"])

    def make_branch(self, wanted: Wanted, branch_id: str, state: dict[str, Any], save: Save) -> Credentials:  # noqa: ARG002 - the id says all
        """Copy the database as a template: for a moment nobody can be connected to it."""
        names, copy = wanted.names, branch_database(branch_id)
        with self._session() as session:
            if not self._is_whole(session, copy):
                source = quoted(names.database)
                session.run(f"alter database {source} with allow_connections false")
                try:
                    session.query(sql.end_sessions(database=names.database))
                    session.run(f"create database {quoted(copy)} owner {quoted(names.keeper)} template {source}")
                finally:
                    session.run(f"alter database {source} with allow_connections true")
            self._close_database(session, copy, names)
        return wanted.credentials.at(wanted.credentials.host, wanted.credentials.port, copy)

    def remove_branch(self, wanted: Wanted, branch_id: str, state: State) -> None:  # noqa: ARG002 - the id says all
        """Drop the copy, and open the tenant's database where the making of the copy was cut off."""
        with self._session() as session:
            session.run(f"drop database if exists {quoted(branch_database(branch_id))} with (force)")
            if self._is_whole(session, wanted.names.database):
                session.run(f"alter database {quoted(wanted.names.database)} with allow_connections true")

    def inventory(self) -> Inventory:
        """Return the databases and roles with names of ours."""
        things: dict[str, tuple[str, ...]] = {}
        with self._session() as session:
            for row in session.query(sql.everything_of_ours()):
                if ours := OURS.fullmatch(row["name"]):
                    things[ours[1]] = (*things.get(ours[1], ()), f"{row['kind']} {row['name']}")
        return Inventory(things)

    def remove_orphan(self, thing_id: str) -> None:
        """Drop the database and the roles of an id."""
        with self._session() as session:
            if thing_id.startswith("b"):
                session.run(f"drop database if exists {quoted(branch_database(thing_id))} with (force)")
            else:
                self._drop(session, names_of(thing_id))

    # --- the steps ---

    def _make_role(self, session: DirectSession, role: str, name: str, password: str) -> None:
        verb = "alter" if session.query(sql.find_role(role=name)) else "create"
        shown = verifier(password) if self._hides_passwords else password
        session.run(
            f"{verb} role {quoted(name)} login connection limit {CONNECTIONS_OF_A_ROLE} password {literal(shown)}"
        )
        if role == "viewer":
            session.run(f"alter role {quoted(name)} set default_transaction_read_only = on")

    def _let_keeper_keep(self, session: DirectSession, names: Names) -> None:
        session.run(f"grant {quoted(names.developer)} to {quoted(names.owner)}")
        session.run(f"grant {quoted(names.owner)}, {quoted(names.viewer)} to {quoted(names.keeper)}")
        if session.query(sql.find_role(role=KEEPERS)):
            session.run(f"grant {KEEPERS} to {quoted(names.keeper)}")
        # So that we may give a database to it, and end the sessions in it.
        if not session.query(sql.may_act_as(role=names.keeper))[0]["may"]:
            session.run(f"grant {quoted(names.keeper)} to current_user")

    def _make_database(self, session: DirectSession, database: str, keeper: str) -> None:
        if self._is_whole(session, database):
            return
        template = TEMPLATE if session.query(sql.find_database(database=TEMPLATE)) else "template0"
        session.run(f"create database {quoted(database)} owner {quoted(keeper)} template {quoted(template)}")

    def _close_database(self, session: DirectSession, database: str, names: Names) -> None:
        # The making of a branch may have been cut off while it was closed.
        session.run(f"alter database {quoted(database)} with allow_connections true")
        session.run(f"revoke all on database {quoted(database)} from public")
        callers = ", ".join(map(quoted, (names.owner, names.developer, names.viewer)))
        session.run(f"grant connect on database {quoted(database)} to {callers}")

    @staticmethod
    def _is_whole(session: DirectSession, database: str) -> bool:
        """Tell whether the database is there; one that a cut-off DROP left unusable is dropped first."""
        rows = session.query(sql.find_database(database=database))
        if rows and rows[0]["is_broken"]:
            session.run(f"drop database {quoted(database)}")
            return False
        return bool(rows)

    @staticmethod
    def _drop(session: DirectSession, names: Names) -> None:
        session.run(f"drop database if exists {quoted(names.database)} with (force)")
        for role in names.roles:
            session.run(f"drop role if exists {quoted(role)}")

    @contextmanager
    def _session(self) -> Iterator[DirectSession]:
        """Open a session on the cluster; what goes wrong in it is the engine's fault, and told in its words."""
        try:
            with connect_direct(
                self._address,
                application="gatehouse tenants engine",
                options={},
                connect_milliseconds=CONNECT_MILLISECONDS,
                tls=self._safety.tls,
                tls_context=self._safety.context(self._authority) if self._safety.tls != "off" else None,
            ) as session:
                session.run(f"set statement_timeout = {STATEMENT_MILLISECONDS}")
                yield session
        except DatabaseError as error:
            # In use, or a name that another session is just making: it passes.
            passing = error.retry_helps or error.sqlstate in ("55006", "42710", "42P04", "XX000", "55000")
            raise EngineError(f"{self.name}: {error}", retry_helps=passing) from None
