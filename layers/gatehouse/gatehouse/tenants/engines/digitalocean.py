"""Tenants on a managed cluster of DigitalOcean: database and keeper by its API, all else by SQL."""

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from gatehouse.database.direct_session import DirectSession
from gatehouse.errors import EngineError
from gatehouse.tenants.credentials import Credentials
from gatehouse.tenants.engines import State, Wanted
from gatehouse.tenants.engines.api import EngineApi
from gatehouse.tenants.engines.plain import PlainEngine
from gatehouse.tenants.links import Safety
from gatehouse.tenants.names import Names, branch_database, quoted

SECONDS_EACH = 0.8  # between requests, of all processes together: 5,000 an hour, and 250 a minute


class DigitalOceanEngine(PlainEngine):
    """One cluster. Its API makes database and keeper; doadmin gives one to the other, and makes the other roles.

    A role that was made by SQL is unknown to the cluster's console, and works all the same.
    """

    name = "digitalocean"
    can_branch = False  # its doadmin may not close a database while it is copied

    def __init__(self, api: EngineApi, cluster: str, address: str, safety: Safety, *, authority: str = "") -> None:
        super().__init__(address, safety, authority=authority)
        self._api = api
        self._path = f"/v2/databases/{quote(cluster)}"

    def make(self, wanted: Wanted) -> Credentials:
        """Make keeper and database by the API, and then all as on a plain cluster."""
        users, keeper = f"{self._path}/users", wanted.names.keeper
        if self._api.ask("GET", f"{users}/{quote(keeper)}", missing_is_fine=True) is None:
            self._api.ask("POST", users, json={"name": keeper}, known_is_fine=True)
        databases, name = f"{self._path}/dbs", wanted.names.database
        if self._api.ask("GET", f"{databases}/{quote(name)}", missing_is_fine=True) is None:
            self._api.ask("POST", databases, json={"name": name}, known_is_fine=True)
        return super().make(wanted)

    def remove(self, wanted: Wanted, branches: Mapping[str, State]) -> None:  # noqa: ARG002 - there are none here
        """Delete the database and the keeper by the API, and the other roles by SQL."""
        self._remove(wanted.names)

    def make_branch(self, *_: Any) -> Credentials:
        """Say that there are no branches here."""
        raise EngineError("there are no branches on this engine", retry_helps=False)

    def remove_orphan(self, thing_id: str) -> None:
        """Remove what belongs to no tenant."""
        if thing_id.startswith("b"):
            self._api.ask("DELETE", f"{self._path}/dbs/{quote(branch_database(thing_id))}", missing_is_fine=True)
        else:
            super().remove_orphan(thing_id)

    def _remove(self, names: Names) -> None:
        self._api.ask("DELETE", f"{self._path}/dbs/{quote(names.database)}", missing_is_fine=True)
        with self._session() as session:
            for role in names.roles[1:]:
                session.run(f"drop role if exists {quoted(role)}")
        self._api.ask("DELETE", f"{self._path}/users/{quote(names.keeper)}", missing_is_fine=True)

    def _make_database(self, session: DirectSession, database: str, keeper: str) -> None:
        """Give the database, which the API has made and doadmin owns, to its keeper."""
        session.run(f"alter database {quoted(database)} owner to {quoted(keeper)}")


def address_of_cluster(api: EngineApi, cluster: str) -> tuple[str, str]:
    """Return the address of a cluster's doadmin, and the certificate authority that signs for it."""
    path = f"/v2/databases/{quote(cluster)}"
    said = (api.ask("GET", path) or {}).get("database", {})
    connection = said.get("connection", {})
    if said.get("status") != "online" or not connection.get("uri"):
        raise EngineError("the cluster is not online", retry_helps=True)
    authority = (api.ask("GET", f"{path}/ca") or {}).get("ca", {}).get("certificate", "")
    return str(connection["uri"]), base64.b64decode(authority).decode()
