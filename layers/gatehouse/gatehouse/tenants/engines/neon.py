"""Tenants at Neon: a project each, made over Neon's API v2; the callers' roles by SQL, so that they may little in it.

What its document asks for: after a change its operations are waited for; a second change meanwhile is answered 423, and
may be sent again, as after 503; of a change without an answer nobody knows, so the project is looked for by its name
before another one is made.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gatehouse.database.direct_session import DirectSession, connect_direct
from gatehouse.database.login import parse_address
from gatehouse.database.sql import load_statements
from gatehouse.errors import DatabaseError, EngineError
from gatehouse.tenants.credentials import Credentials
from gatehouse.tenants.engines import Inventory, Save, State, Wanted
from gatehouse.tenants.engines.api import EngineApi
from gatehouse.tenants.links import Safety
from gatehouse.tenants.names import CALLERS, KEEPER, OURS, PREFIX, literal, quoted

DEFAULT_REGION = "aws-us-east-1"
POSTGRES_VERSION = 17
DONE_WELL = ("finished", "skipped")
DONE_BADLY = ("failed", "error", "cancelled")
POLL_SECONDS = 1.0
WAIT_SECONDS = 15.0  # then the job is given back, and looks again later
LATER_SECONDS = 3.0
IN_A_PAGE = 400
CONNECT_MILLISECONDS = 10_000  # a compute that sleeps needs a moment to wake up
SECONDS_EACH = 0.1  # between requests, of all processes together: Neon allows 700 a minute

sql = load_statements(Path(__file__).with_name("plain.sql"))


class NeonEngine:
    """One account or organisation at Neon."""

    name = "neon"
    can_branch = True

    def __init__(
        self,
        api: EngineApi,
        safety: Safety,
        *,
        organization: str = "",
        region: str = DEFAULT_REGION,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._safety = safety
        self._organization = organization
        self._region = region
        self._clock = clock

    def __repr__(self) -> str:
        return "<NeonEngine>"

    def make(self, wanted: Wanted) -> Credentials:
        """Make the project, wait for it, and make the callers' roles in it."""
        state = dict(wanted.state)
        project = state.get("project_id") or self._project(wanted, state)
        self._wait(project)
        if "branch_id" not in state:
            state |= {"project_id": project, "branch_id": self._default_branch(project)}
            wanted.save(state)
        self._ensure_database(project, state["branch_id"], wanted)
        credentials = self._placed(project, state["branch_id"], wanted.credentials)
        self._make_roles(credentials)
        return credentials

    def remove(self, wanted: Wanted, branches: Mapping[str, State]) -> None:  # noqa: ARG002 - they go with the project
        """Delete the project, also one whose making was never heard of."""
        known = wanted.state.get("project_id")
        projects = [str(known)] if known else [each["id"] for each in self._projects(wanted.names.database)]
        for project in projects:
            self._api.ask("DELETE", f"/projects/{quote(project)}", missing_is_fine=True)

    def storage_bytes(self, wanted: Wanted) -> int:
        """Return what Neon says of the project: asking the database itself would wake it up."""
        said = self._api.ask("GET", f"/projects/{quote(str(wanted.state['project_id']))}")
        return int((said or {}).get("project", {}).get("synthetic_storage_size") or 0)

    def make_branch(self, wanted: Wanted, branch_id: str, state: dict[str, Any], save: Save) -> Credentials:
        """Make a branch with a compute of its own; roles and passwords come with it."""
        project, name = str(wanted.state["project_id"]), PREFIX + branch_id
        found = state.get("branch_id") or self._branch_named(project, name)
        if not found:
            asked = {
                "branch": {"name": name, "parent_id": wanted.state["branch_id"]},
                "endpoints": [{"type": "read_write"}],
            }
            said = self._api.ask("POST", f"/projects/{quote(project)}/branches", json=asked) or {}
            found = said["branch"]["id"]
        if state.get("branch_id") != found:
            save({"branch_id": found})
        self._wait(project)
        return self._placed(project, found, wanted.credentials)

    def remove_branch(self, wanted: Wanted, branch_id: str, state: State) -> None:
        """Delete a branch."""
        project = str(wanted.state["project_id"])
        found = state.get("branch_id") or self._branch_named(project, PREFIX + branch_id)
        if found:
            self._api.ask("DELETE", f"/projects/{quote(project)}/branches/{quote(found)}", missing_is_fine=True)
            self._wait(project)

    def inventory(self) -> Inventory:
        """Return the projects with names of ours; their branches belong to them."""
        things: dict[str, tuple[str, ...]] = {}
        for each in self._projects(PREFIX, exactly=False):
            if ours := OURS.fullmatch(each["name"]):
                things[ours[1]] = (*things.get(ours[1], ()), f"project {each['id']}")
        return Inventory(things)

    def remove_orphan(self, thing_id: str) -> None:
        """Delete the projects of this name."""
        for each in self._projects(PREFIX + thing_id):
            self._api.ask("DELETE", f"/projects/{quote(each['id'])}", missing_is_fine=True)

    # --- the steps ---

    def _project(self, wanted: Wanted, state: dict[str, Any]) -> str:
        """Return the id of the tenant's project: the one that an earlier attempt made, or a new one."""
        name = wanted.names.database
        if state.get("asked"):  # and no answer was kept
            for each in self._projects(name):
                wanted.save({**state, "project_id": each["id"]})
                return str(each["id"])
        wanted.save({**state, "asked": True})
        project: dict[str, Any] = {
            "name": name,
            "region_id": wanted.region or self._region,
            "pg_version": POSTGRES_VERSION,
            "store_passwords": True,
            "branch": {"name": "main", "role_name": wanted.names.keeper, "database_name": name},
        }
        if self._organization:
            project["org_id"] = self._organization
        said = self._api.ask("POST", "/projects", json={"project": project}) or {}
        made = str(said["project"]["id"])
        state |= {"asked": True, "project_id": made, "branch_id": said["branch"]["id"]}
        wanted.save(state)
        return made

    def _projects(self, name: str, *, exactly: bool = True) -> Iterator[dict[str, Any]]:
        """Give the projects of a name, page by page; the search also finds names that hold it."""
        cursor = ""
        while True:
            params = {"limit": str(IN_A_PAGE), "search": name}
            if self._organization:
                params["org_id"] = self._organization
            if cursor:
                params["cursor"] = cursor
            said = self._api.ask("GET", "/projects", params=params) or {}
            found = said.get("projects", [])
            yield from (each for each in found if not exactly or each["name"] == name)
            cursor = said.get("pagination", {}).get("cursor", "")
            if not found or not cursor or len(found) < IN_A_PAGE:
                return

    def _default_branch(self, project: str) -> str:
        said = self._api.ask("GET", f"/projects/{quote(project)}/branches") or {}
        for each in said.get("branches", []):
            if each.get("default"):
                return str(each["id"])
        raise EngineError(f"project {project} has no default branch", retry_helps=False)

    def _branch_named(self, project: str, name: str) -> str | None:
        said = self._api.ask("GET", f"/projects/{quote(project)}/branches", params={"search": name}) or {}
        return next((str(each["id"]) for each in said.get("branches", []) if each["name"] == name), None)

    def _ensure_database(self, project: str, branch: str, wanted: Wanted) -> None:
        path = f"/projects/{quote(project)}/branches/{quote(branch)}"
        name, keeper = wanted.names.database, wanted.names.keeper
        if self._api.ask("GET", f"{path}/roles/{quote(keeper)}", missing_is_fine=True) is None:
            self._api.ask("POST", f"{path}/roles", json={"role": {"name": keeper}}, known_is_fine=True)
            self._wait(project)
        if self._api.ask("GET", f"{path}/databases/{quote(name)}", missing_is_fine=True) is None:
            asked = {"database": {"name": name, "owner_name": keeper}}
            self._api.ask("POST", f"{path}/databases", json=asked, known_is_fine=True)
            self._wait(project)

    def _placed(self, project: str, branch: str, credentials: Credentials) -> Credentials:
        """Return the credentials with the branch's direct address and the keeper's password, which Neon has made."""
        params = {
            "branch_id": branch,
            "database_name": credentials.database,
            "role_name": credentials.users[KEEPER],
        }
        said = self._api.ask("GET", f"/projects/{quote(project)}/connection_uri", params=params) or {}
        place = parse_address(str(said.get("uri", "")))
        passwords = {**credentials.passwords, KEEPER: place.password}
        return credentials.at(place.host, place.port, place.database, passwords=passwords)

    def _wait(self, project: str) -> None:
        """Wait until nothing is under way in a project; raise EngineError when it failed, or takes too long for now."""
        deadline = self._clock() + WAIT_SECONDS
        while True:
            said = self._api.ask("GET", f"/projects/{quote(project)}/operations", params={"limit": "20"}) or {}
            states = [(str(each["status"]), str(each["action"])) for each in said.get("operations", [])]
            open_ones = [action for status, action in states if status not in (*DONE_WELL, *DONE_BADLY)]
            if not open_ones:
                if states and states[0][0] in DONE_BADLY:  # the newest comes first
                    raise EngineError(f"Neon's operation {states[0][1]} {states[0][0]}", retry_helps=True)
                return
            if self._clock() >= deadline:
                raise EngineError(
                    f"Neon still works on {', '.join(sorted(set(open_ones)))}",
                    retry_helps=True,
                    retry_after_seconds=LATER_SECONDS,
                )
            self._api.sleep(POLL_SECONDS)

    def _make_roles(self, credentials: Credentials) -> None:
        """Make the callers' roles. Neon takes no hashed passwords; the connection is encrypted."""
        with self._session(credentials.address(KEEPER)) as session:
            for role in CALLERS:
                name = credentials.users[role]
                verb = "alter" if session.query(sql.find_role(role=name)) else "create"
                password = literal(credentials.passwords[role])
                session.run(f"{verb} role {quoted(name)} login nocreatedb nocreaterole password {password}")
            database = quoted(credentials.database)
            viewer, owner, developer = (quoted(credentials.users[each]) for each in ("viewer", "owner", "developer"))
            session.run(f"alter role {viewer} set default_transaction_read_only = on")
            session.run(f"grant {developer} to {owner}")
            session.run(f"grant {owner}, {viewer} to current_user")
            session.run(f"revoke all on database {database} from public")
            session.run(f"grant connect on database {database} to {owner}, {developer}, {viewer}")

    @contextmanager
    def _session(self, address: str) -> Iterator[DirectSession]:
        try:
            with connect_direct(
                address,
                application="gatehouse tenants engine",
                options={},
                connect_milliseconds=CONNECT_MILLISECONDS,
                tls=self._safety.tls,
                tls_root_file=self._safety.root_file,
            ) as session:
                yield session
        except DatabaseError as error:
            raise EngineError(f"the project's database: {error}", retry_helps=error.retry_helps) from None
