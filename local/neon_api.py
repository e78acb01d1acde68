"""A stand-in for Neon's API: every request and every answer is checked against Neon's own document (neon_openapi.json).

Its projects are databases on a Postgres of this machine. Like Neon it goes on working after an answer: operations are
done when they were asked about often enough, and a second change of a project meanwhile is answered with 423. For tests
it fails on demand, as told over its control path (see `gateway_apis`) by PUT /_control/objects:

    {"fail": {"status": 503, "method": "POST", "path": "/projects", "times": 2}}    before anything is done
    {"fail": {"status": 0, …}}             the answer is lost after the work was done
    {"operations": {"polls": 3, "end": "failed"}}
"""

import json
import re
import secrets
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from gatehouse.database.direct_session import DirectSession, connect_direct
from gatehouse.database.sql import unnamed
from gatehouse.tenants.names import literal, quoted
from local.gateway_apis import ApiAnswer, ApiRequest

DOCUMENT = Path(__file__).with_name("neon_openapi.json")
BASE = "/api/v2"
LOST = 0

type Thing = dict[str, Any]


class NotInTheDocument(AssertionError):
    """A request or an answer is not as Neon's document says."""


class NeonApi:
    """What one account has at Neon."""

    name = "neon"

    def __init__(self, superuser_address: str, api_key: str) -> None:
        self.address = superuser_address
        self._api_key = api_key
        self._projects: dict[str, Thing] = {}
        self._fail: Thing = {}
        self._polls, self._end = 1, "finished"
        self.broken: list[str] = []  # what was not as the document says

    # --- for the server around it ---

    def learn(self, event_body: bytes) -> None:
        """Neon sends no events."""

    def remember(self, thing: Thing) -> None:
        """Fail as told, or let operations take so many polls and end so."""
        self._fail = thing.get("fail", self._fail)
        told = thing.get("operations", {})
        self._polls, self._end = told.get("polls", self._polls), told.get("end", self._end)
        for project in self._projects.values():
            project["polls"] = self._polls

    def refusal(self, status: int) -> ApiAnswer:
        """Return Neon's own words for a status."""
        return ApiAnswer(status, {"request_id": str(uuid.uuid4()), "code": "", "message": f"status {status}"})

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer as Neon would; what the document does not know is answered 500, and noted."""
        if request.headers.get("authorization") != f"Bearer {self._api_key}":
            return self.refusal(401)
        path = request.path.removeprefix(BASE)
        fault = self._next_fault(request.method, path)
        if fault not in (None, LOST):
            return self.refusal(int(fault or 500))
        try:
            template, values = _operation(request.method, path)
            body = json.loads(request.body) if request.body else None
            _check_request(template, request, body)
            answer = self._answered(request.method, template, values, request.query, body)
            _check_answer(template, request.method, answer)
        except NotInTheDocument as wrong:
            self.broken.append(str(wrong))
            return self.refusal(500)
        return self.refusal(500) if fault == LOST else answer

    def _next_fault(self, method: str, path: str) -> int | None:
        fail = self._fail
        if not fail or fail.get("method", method) != method or not re.fullmatch(fail.get("path", ".*"), path):
            return None
        fail["times"] = fail.get("times", 1) - 1
        if fail["times"] <= 0:
            self._fail = {}
        return int(fail["status"])

    # --- what it answers ---

    def _answered(
        self, method: str, template: str, values: Mapping[str, str], query: Mapping[str, list[str]], body: Any
    ) -> ApiAnswer:
        if template == "/projects":
            return self._make_project(body["project"]) if method == "POST" else self._list_projects(query)
        project = self._projects.get(values["project_id"])
        if project is None:
            return self.refusal(404)
        what = template.removeprefix("/projects/{project_id}")
        if method != "GET" and what and self._working(project):
            return self.refusal(423)
        match method, what:
            case "GET", "":
                return ApiAnswer(200, {"project": project["project"]})
            case "DELETE", "":
                return self._drop_project(values["project_id"])
            case "GET", "/operations":
                self._work(project)
                return ApiAnswer(200, {"operations": project["operations"][::-1][:20]})
            case "GET", "/connection_uri":
                return self._connection_uri(project, query)
            case "GET", "/branches":
                branches = [each["branch"] for each in project["branches"].values()]
                return ApiAnswer(
                    200, {"branches": branches, "annotations": {}, "pagination": {"sort_by": "", "sort_order": "DESC"}}
                )
            case "POST", "/branches":
                return self._make_branch(project, body)
        branch = project["branches"].get(values["branch_id"])
        if branch is None:
            return self.refusal(404)
        match method, what.removeprefix("/branches/{branch_id}"):
            case "DELETE", "":
                return self._drop_branch(project, values["branch_id"])
            case "GET", "/roles/{role_name}":
                role = next((each for each in branch["roles"] if each["name"] == values["role_name"]), None)
                return self.refusal(404) if role is None else ApiAnswer(200, {"role": role})
            case "GET", "/databases/{database_name}":
                known = next((each for each in branch["databases"] if each["name"] == values["database_name"]), None)
                return self.refusal(404) if known is None else ApiAnswer(200, {"database": known})
        return self.refusal(501)

    def _make_project(self, wanted: Thing) -> ApiAnswer:
        project_id = f"calm-rain-{secrets.randbelow(10**8):08}"
        told = wanted.get("branch", {})
        role, database = told.get("role_name", "neondb_owner"), told.get("database_name", "neondb")
        password = secrets.token_urlsafe(18)
        with self._session() as session:
            known = session.query(unnamed("select 1 as n from pg_roles where rolname = :name::text")(name=role))
            verb = "alter" if known else "create"
            session.run(f"{verb} role {quoted(role)} login createrole createdb password {literal(password)}")
            if not session.query(unnamed("select 1 as n from pg_database where datname = :name::text")(name=database)):
                session.run(f"create database {quoted(database)} owner {quoted(role)} template template0")
        project = {
            **_PROJECT,
            "id": project_id,
            "name": wanted.get("name", project_id),
            "created_at": _now(),
            "updated_at": _now(),
        }
        project |= {"region_id": wanted.get("region_id", "aws-us-east-2"), "pg_version": wanted.get("pg_version", 17)}
        branch = self._branch_thing(project_id, told.get("name", "main"), database, role, default=True)
        kept = {
            "project": project,
            "branches": {branch["branch"]["id"]: branch},
            "operations": [],
            "password": password,
        }
        self._projects[project_id] = kept
        branch_id = branch["branch"]["id"]
        operations = [self._begin(kept, action, branch_id) for action in ("create_timeline", "start_compute")]
        return ApiAnswer(
            201,
            {
                "project": project,
                "connection_uris": [self._uri_thing(kept, branch_id)],
                "roles": branch["roles"],
                "databases": branch["databases"],
                "operations": operations,
                "branch": branch["branch"],
                "endpoints": branch["endpoints"],
            },
        )

    def _list_projects(self, query: Mapping[str, list[str]]) -> ApiAnswer:
        limit, search = int(query.get("limit", ["10"])[0]), query.get("search", [""])[0]
        found = [each["project"] for each in self._projects.values() if search in each["project"]["name"]]
        start = int(query.get("cursor", ["0"])[0] or 0)
        shown = [{name: value for name, value in each.items() if name in _OF_A_LIST} for each in found]
        page = shown[start : start + limit]
        return ApiAnswer(
            200,
            {
                "projects": page,
                **({"pagination": {"cursor": str(start + len(page))}} if page else {}),
                "applications": {},
                "integrations": {},
            },
        )

    def _drop_project(self, project_id: str) -> ApiAnswer:
        project = self._projects.pop(project_id)
        first = next(iter(project["branches"].values()))
        owner = first["databases"][0]["owner_name"]
        with self._session() as session:
            for branch in project["branches"].values():
                session.run(f"drop database if exists {quoted(branch['physical'])} with (force)")
            for role in ("owner", "developer", "viewer"):  # made by SQL in the project, and gone with it
                session.run(f"drop role if exists {quoted(owner.removesuffix('_keeper') + '_' + role)}")
            session.run(f"drop role if exists {quoted(owner)}")
        return ApiAnswer(200, {"project": project["project"]})

    def _make_branch(self, project: Thing, body: Thing) -> ApiAnswer:
        told = body.get("branch", {})
        parent = project["branches"].get(told.get("parent_id", "")) or next(iter(project["branches"].values()))
        name, owner = parent["databases"][0]["name"], parent["databases"][0]["owner_name"]
        branch = self._branch_thing(project["project"]["id"], told.get("name", "branch"), name, owner, default=False)
        branch["physical"] = f"{name}_{branch['branch']['id'][-8:]}"
        branch["branch"]["parent_id"] = parent["branch"]["id"]
        with self._session() as session:
            source = quoted(parent["physical"])
            session.run(f"alter database {source} with allow_connections false")
            ended = (
                "select count(pg_terminate_backend(pid, 1000)) as n from pg_stat_activity where datname = :name::text"
            )
            session.query(unnamed(ended)(name=parent["physical"]))
            session.run(f"create database {quoted(branch['physical'])} owner {quoted(owner)} template {source}")
            session.run(f"alter database {source} with allow_connections true")
        branch_id = branch["branch"]["id"]
        project["branches"][branch_id] = branch
        operations = [self._begin(project, action, branch_id) for action in ("create_branch", "start_compute")]
        return ApiAnswer(
            201,
            {
                "branch": branch["branch"],
                "endpoints": branch["endpoints"],
                "operations": operations,
                "roles": branch["roles"],
                "databases": branch["databases"],
                "connection_uris": [self._uri_thing(project, branch_id)],
            },
        )

    def _drop_branch(self, project: Thing, branch_id: str) -> ApiAnswer:
        branch = project["branches"].pop(branch_id)
        with self._session() as session:
            session.run(f"drop database if exists {quoted(branch['physical'])} with (force)")
        operation = self._begin(project, "delete_timeline", branch_id)
        return ApiAnswer(200, {"branch": branch["branch"], "operations": [operation]})

    def _connection_uri(self, project: Thing, query: Mapping[str, list[str]]) -> ApiAnswer:
        branch_id = query.get("branch_id", [next(iter(project["branches"]))])[0]
        if branch_id not in project["branches"]:
            return self.refusal(404)
        return ApiAnswer(200, {"uri": self._uri_thing(project, branch_id)["connection_uri"]})

    # --- things ---

    def _branch_thing(self, project_id: str, name: str, database: str, role: str, *, default: bool) -> Thing:
        branch_id, endpoint_id = f"br-calm-{secrets.token_hex(4)}", f"ep-calm-{secrets.token_hex(4)}"
        times = {"created_at": _now(), "updated_at": _now()}
        branch = {**_BRANCH, **times, "id": branch_id, "project_id": project_id, "name": name, "default": default}
        endpoint = {**_ENDPOINT, **times, "id": endpoint_id, "project_id": project_id, "branch_id": branch_id}
        return {
            "branch": branch,
            "endpoints": [{**endpoint, "host": urlsplit(self.address).hostname}],
            "roles": [{**times, "branch_id": branch_id, "name": role, "protected": False}],
            "databases": [
                {**times, "id": secrets.randbelow(10**9), "branch_id": branch_id, "name": database, "owner_name": role}
            ],
            "physical": database,
        }

    def _uri_thing(self, project: Thing, branch_id: str) -> Thing:
        branch, place = project["branches"][branch_id], urlsplit(self.address)
        role, password = branch["roles"][0]["name"], project["password"]
        host = place.hostname or ""
        uri = f"postgresql://{role}:{quote(password, safe='')}@{host}:{place.port}/{branch['physical']}?sslmode=require"
        told = {"database": branch["physical"], "password": password, "role": role, "host": host, "pooler_host": host}
        return {"connection_uri": uri, "connection_parameters": told}

    def _begin(self, project: Thing, action: str, branch_id: str) -> Thing:
        operation = {
            "id": str(uuid.uuid4()),
            "project_id": project["project"]["id"],
            "branch_id": branch_id,
            "action": action,
            "status": "running",
            "failures_count": 0,
            "created_at": _now(),
            "updated_at": _now(),
            "total_duration_ms": 100,
        }
        project["operations"].append(operation)
        project["polls"] = self._polls
        return dict(operation)

    def _work(self, project: Thing) -> None:
        """Let operations end when they were asked about often enough."""
        project["polls"] = project.get("polls", 0) - 1
        if project["polls"] <= 0:
            for each in project["operations"]:
                if each["status"] == "running":
                    each["status"] = self._end

    @staticmethod
    def _working(project: Thing) -> bool:
        return any(each["status"] == "running" for each in project["operations"])

    def _session(self) -> DirectSession:
        return connect_direct(
            self.address, application="Neon's stand-in", options={}, connect_milliseconds=5000, tls="off"
        )


# --- the document ---


@cache
def _document() -> tuple[Thing, Any]:
    # Here: half a second that a start of the stack need not wait for.
    from referencing import Registry
    from referencing.jsonschema import DRAFT4

    document = json.loads(DOCUMENT.read_text())
    return document, Registry().with_resource("urn:neon", DRAFT4.create_resource(document))


def _operation(method: str, path: str) -> tuple[str, dict[str, str]]:
    """Return the path of the document that a request is to, and the values in it."""
    for template, operations in _document()[0]["paths"].items():
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template))
        if (found := re.fullmatch(pattern, path)) and method.lower() in operations:
            return template, {name: unquote(value) for name, value in found.groupdict().items()}
    raise NotInTheDocument(f"{method} {path}")


def _check_request(template: str, request: ApiRequest, body: Any) -> None:
    operations = _document()[0]["paths"][template]
    operation = operations[request.method.lower()]
    known = [_resolved(each) for each in (*operations.get("parameters", []), *operation.get("parameters", []))]
    names = {each["name"] for each in known if each["in"] == "query"}
    needed = {each["name"] for each in known if each["in"] == "query" and each.get("required")}
    if wrong := (request.query.keys() - names) | (needed - request.query.keys()):
        raise NotInTheDocument(f"{request.method} {template}: query {sorted(wrong)}")
    schema = _resolved(operation.get("requestBody", {})).get("content", {}).get("application/json", {}).get("schema")
    if body is not None and schema is None:
        raise NotInTheDocument(f"{request.method} {template} takes no body")
    if schema is not None and (body is not None or _resolved(operation["requestBody"]).get("required")):
        _check(f"{request.method} {template}", schema, body)
        _check_names(f"{request.method} {template}", schema, body)


def _check_answer(template: str, method: str, answer: ApiAnswer) -> None:
    responses = _document()[0]["paths"][template][method.lower()]["responses"]
    response = responses.get(str(answer.status))
    if response is None:
        if answer.status < 400:
            raise NotInTheDocument(f"{method} {template} is never answered {answer.status}")
        response = responses["default"]
    schema = _resolved(response).get("content", {}).get("application/json", {}).get("schema")
    if schema is not None:
        _check(f"the answer {answer.status} to {method} {template}", schema, answer.body)


def _check(what: str, schema: Thing, body: Any) -> None:
    from openapi_schema_validator import OAS30Validator

    absolute = json.loads(json.dumps(schema).replace('"$ref": "#/', '"$ref": "urn:neon#/'))
    errors = sorted(OAS30Validator(absolute, registry=_document()[1]).iter_errors(body), key=str)
    if errors:
        raise NotInTheDocument(f"{what}: {errors[0].json_path} {errors[0].message[:200]}")


def _check_names(what: str, schema: Thing, body: Any) -> None:
    """Raise for a field of a request that the document does not know: Neon would not look at it."""
    schema = _resolved(schema)
    known: Thing = dict(schema.get("properties", {}))
    for each in schema.get("allOf", []):
        known |= _resolved(each).get("properties", {})
    if isinstance(body, dict) and known:
        for name, value in body.items():
            if name not in known:
                raise NotInTheDocument(f"{what}: no field {name}")
            _check_names(f"{what}.{name}", known[name], value)


def _resolved(thing: Thing) -> Thing:
    while "$ref" in thing:
        found: Any = _document()[0]
        for step in thing["$ref"].removeprefix("#/").split("/"):
            found = found[step.replace("~1", "/").replace("~0", "~")]
        thing = found
    return thing


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_PROJECT: Thing = {
    "platform_id": "aws",
    "provisioner": "k8s-neonvm",
    "proxy_host": "us-east-1.aws.neon.tech",
    "store_passwords": True,
    "creation_source": "api",
    "history_retention_seconds": 86400,
    "owner_id": "629982cc-de05-43db-ae16-28f2399c4910",
    "data_storage_bytes_hour": 0,
    "synthetic_storage_size": 30_000_000,
    "branch_logical_size_limit": 0,
    "branch_logical_size_limit_bytes": 10800,
    "data_transfer_bytes": 0,
    "written_data_bytes": 0,
    "compute_time_seconds": 0,
    "active_time_seconds": 0,
    "active_time": 0,
    "cpu_used_sec": 0,
    "consumption_period_start": "2026-11-01T00:00:00Z",
    "consumption_period_end": "2026-12-01T00:00:00Z",
}
_OF_A_LIST = {
    *("id", "platform_id", "region_id", "name", "provisioner", "pg_version", "created_at", "updated_at", "proxy_host"),
    *("cpu_used_sec", "branch_logical_size_limit", "owner_id", "creation_source", "store_passwords", "active_time"),
    *("branch_logical_size_limit_bytes", "synthetic_storage_size"),
}
_BRANCH: Thing = {
    "protected": False,
    "current_state": "ready",
    "state_changed_at": "2026-11-01T00:00:00Z",
    "creation_source": "api",
    "init_source": "parent-data",
    "data_transfer_bytes": 0,
    "written_data_bytes": 0,
    "compute_time_seconds": 0,
    "active_time_seconds": 0,
    "cpu_used_sec": 0,
}
_ENDPOINT: Thing = {
    "autoscaling_limit_min_cu": 0.25,
    "autoscaling_limit_max_cu": 1,
    "region_id": "aws-us-east-1",
    "type": "read_write",
    "current_state": "init",
    "pending_state": "active",
    "settings": {"pg_settings": {}},
    "pooler_enabled": False,
    "pooler_mode": "transaction",
    "disabled": False,
    "passwordless_access": True,
    "creation_source": "api",
    "proxy_host": "us-east-1.aws.neon.tech",
    "suspend_timeout_seconds": 0,
    "provisioner": "k8s-neonvm",
}
