"""Tenants as rows: who made them, who may do what, how they stand. Their databases are the jobs' work."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.database.sql import Bound, load_statements
from gatehouse.errors import Conflict, InputRefused, NotFound, RequestRefused, TenantClosed, TooManyRequests
from gatehouse.sealing import Keyring
from gatehouse.tenants.credentials import Credentials, opened
from gatehouse.tenants.guard import ROLES
from gatehouse.tenants.names import BRANCH_ID, TENANT_ID, new_id
from gatehouse.tenants.plans import PLANS
from gatehouse.tenants.run import Place

sql = load_statements(Path(__file__).with_name("tenants.sql"))

Row = dict[str, Any]
type Jobs = list[tuple[int, str]]

EVERYBODY = "*"
MEGABYTE = 1024 * 1024
RETRY_WHILE_CREATING_SECONDS = 2


class Who(NamedTuple):
    """Somebody who asks: user:<id>, key:<id> or <issuer>:<sub>; an operator of the merchant sees all its tenants."""

    merchant: str
    subject: str
    is_operator: bool = False

    @property
    def seen_as(self) -> str:
        """Return the subject as row-level security knows it."""
        return EVERYBODY if self.is_operator else self.subject

    def context(self) -> Bound:
        """Return the statement that says for whom the others of a flush work."""
        return sql.work_as(merchant=self.merchant, subject=self.seen_as, actor=self.subject)


class NewTenant(NamedTuple):
    """A tenant to be made."""

    name: str
    plan_type: str
    engine: str
    region: str | None = None
    organization_id: str | None = None
    billing_email: str | None = None
    subscription_id: str | None = None


class Entered(NamedTuple):
    """A tenant that somebody was let in to, and the role that he has there."""

    row: Row
    role: str

    @property
    def is_full(self) -> bool:
        """Tell whether the storage of the plan is used up."""
        return bool((self.row["storage_bytes"] or 0) > self.row["max_storage_mb"] * MEGABYTE)

    def needs(self, role: str) -> "Entered":
        """Return the same, or raise RequestRefused when the role is less than this."""
        if ROLES.index(self.role) < ROLES.index(role):
            raise RequestRefused(f"A {self.role} may not do this: it takes {role}.", code="ROLE_TOO_LOW", status=403)
        return self


def create(
    database: Database, who: Who, wanted: NewTenant, *, idempotency_key: str | None = None, asked: bytes | None = None
) -> tuple[Row, Jobs]:
    """Write a tenant down with its owner and the job that makes it; the same key gives the tenant of the first time."""
    tenant = new_id("t")
    key = {"merchant": who.merchant, "subject": who.subject, "idempotency_key": idempotency_key}
    with database.transaction() as transaction:
        transaction.flush([who.context()])
        if idempotency_key is not None:
            *_, known = transaction.flush([sql.lock_key(**key), sql.find_by_key(**key)])
            if known.rows:
                if known.rows[0]["request_hash"] != asked:
                    raise RequestRefused(
                        "This Idempotency-Key was sent with another request.", code="IDEMPOTENCY_KEY_REUSED", status=422
                    )
                return known.rows[0], []
        written = transaction.flush(
            [
                sql.add_tenant(
                    id=tenant,
                    merchant=who.merchant,
                    name=wanted.name,
                    organization_id=wanted.organization_id,
                    billing_email=wanted.billing_email,
                    plan_type=wanted.plan_type,
                    engine=wanted.engine,
                    region=wanted.region,
                    sealed=None,
                    key_id=None,
                    created_by=who.subject,
                    idempotency_key=idempotency_key,
                    request_hash=asked,
                    **PLANS[wanted.plan_type]._asdict(),
                ),
                sql.grant_role(tenant=tenant, subject=who.subject, role="owner", granted_by=who.subject),
                _job("provision_tenant", tenant),
            ]
        )
    return written[0].rows[0], [(written[-1].rows[0]["job_id"], "provision_tenant")]


def enter(database: Database, who: Who, tenant: str, *, is_query: bool = False) -> Entered:
    """Let a request in to a tenant and count it; raise NotFound, TooManyRequests or TenantClosed."""
    if not TENANT_ID.fullmatch(tenant):
        raise _missing()
    _, entered, found = database.flush(
        [
            who.context(),
            sql.enter(tenant=tenant, subject=who.seen_as, is_query=is_query),
            sql.find_tenant(tenant=tenant),
        ]
    )
    answer = entered.rows[0]
    if answer["answer"] == "missing" or not found.rows:
        raise _missing()
    row = found.rows[0]
    if is_query:
        _open_for_queries(row)
    if answer["answer"] == "closed":
        raise TenantClosed(
            "SQL over HTTP is switched off, as a known attack got through; it opens again when that is mended.",
            code="SQL_ENDPOINT_CLOSED",
            status=503,
            retry_helps=False,
        )
    if answer["answer"] == "limited":
        raise TooManyRequests(
            f"The requests of this {answer['full_window']} are used up: the plan {row['plan_type']} has"
            f" {row['max_requests_per_' + answer['full_window']]}.",
            wait_seconds=answer["wait_seconds"],
        )
    return Entered(row, answer["role"])


def _open_for_queries(row: Row) -> None:
    match row["status"]:
        case "creating":
            raise TenantClosed(
                "The database is being made; try again soon.",
                code="TENANT_CREATING",
                status=409,
                retry_helps=True,
            )
        case "suspended":
            reason = f": {row['status_reason']}" if row["status_reason"] else ""
            raise TenantClosed(f"The tenant is suspended{reason}.", code="TENANT_SUSPENDED", retry_helps=False)
        case "deleted":
            raise TenantClosed("The tenant was deleted.", code="TENANT_DELETED", status=410, retry_helps=False)


def list_tenants(
    database: Database,
    who: Who | None,
    *,
    status: str | None = None,
    after: tuple[datetime | None, str | None] = (None, None),
    most: int = 50,
) -> list[Row]:
    """Return the tenants that somebody has a role on, newest first; of all merchants for None, who are ops."""
    wanted = sql.list_tenants(
        merchant=who.merchant if who else None,
        subject=who.seen_as if who else EVERYBODY,
        status=status,
        after_at=after[0],
        after_id=after[1],
        most=most,
    )
    return database.flush([*([who.context()] if who else []), wanted])[-1].rows


def change(database: Database, who: Who, tenant: str, **changes: Any) -> Row:
    """Change name, billing, organisation, or the plan, whose limits the tenant then has."""
    plan = changes.get("plan_type")
    limits = PLANS[plan]._asdict() if plan else dict.fromkeys(PLANS["free"]._fields)
    names = ("name", "billing_email", "organization_id", "plan_type")
    values = {name: changes.get(name) for name in names} | limits
    for name, value in changes.items():
        if name not in names:
            values[name] = value
    rows = database.flush([who.context(), sql.change_tenant(tenant=tenant, **values)])[-1].rows
    if not rows:
        raise _missing()
    return rows[0]


def move(
    database: Database,
    who: Who,
    tenant: str,
    status: str,
    came_from: Sequence[str],
    *,
    reason: str | None = None,
    delete_after: datetime | None = None,
    jobs: Sequence[Bound] = (),
) -> tuple[Row, list[int]]:
    """Take a tenant to another status, and leave jobs for it; raise Conflict when it is not in one of those named."""
    with database.transaction() as transaction:
        _, moved = transaction.flush(
            [
                who.context(),
                sql.move_status(
                    tenant=tenant, status=status, reason=reason, delete_after=delete_after, **{"from": list(came_from)}
                ),
            ]
        )
        if not moved.rows:
            raise Conflict(f"a tenant becomes {status} only from {' or '.join(came_from)}")
        left = [result.rows[0]["job_id"] for result in transaction.flush(jobs)] if jobs else []
    return moved.rows[0], left


def suspend(database: Database, who: Who, tenant: str, reason: str | None) -> Row:
    """Close a tenant's database to all queries."""
    return move(database, who, tenant, "suspended", ["active"], reason=reason)[0]


def resume(database: Database, who: Who, tenant: str) -> Row:
    """Open it again; also one that was deleted, as long as its days of grace last."""
    return move(database, who, tenant, "active", ["suspended", "deleted"])[0]


def delete(database: Database, who: Who, tenant: str, *, grace_days: int) -> tuple[Row, Jobs]:
    """Close a tenant and let it be removed after its days of grace."""
    due = datetime.now(UTC) + timedelta(days=grace_days)
    row, left = move(
        database,
        who,
        tenant,
        "deleted",
        ["creating", "active", "suspended", "deleted"],
        reason="deleted by its owner",
        delete_after=due,
        jobs=[_job("remove_tenant", tenant, due=due)],
    )
    return row, [(job, "remove_tenant") for job in left] if grace_days == 0 else []


def permissions(database: Database, who: Who, tenant: str) -> list[Row]:
    """Return who may do what."""
    return database.flush([who.context(), sql.list_permissions(tenant=tenant)])[-1].rows


def grant(database: Database, who: Who, entered: Entered, subject: str, role: str) -> Row:
    """Give somebody a role; only an owner makes owners, or changes one."""
    tenant = entered.row["id"]
    with database.transaction() as transaction:
        _, held = transaction.flush([who.context(), sql.list_permissions(tenant=tenant)])
        before = next((each["role"] for each in held.rows if each["subject"] == subject), None)
        if "owner" in (role, before):
            entered.needs("owner")
        _, granted = transaction.flush(
            [
                who.context(),
                sql.grant_role(tenant=tenant, subject=subject, role=role, granted_by=who.subject),
            ]
        )
    return granted.rows[0]


def revoke(database: Database, who: Who, entered: Entered, subject: str) -> Row:
    """Take somebody's role away; the last owner stays."""
    tenant = entered.row["id"]
    with database.transaction() as transaction:
        _, held = transaction.flush([who.context(), sql.list_permissions(tenant=tenant)])
        before = next((each for each in held.rows if each["subject"] == subject), None)
        if before is None:
            raise NotFound("nobody of this name has a role on the tenant")
        if before["role"] == "owner":
            entered.needs("owner")
        transaction.query(sql.revoke_role, tenant=tenant, subject=subject)
    return before


def usage(database: Database, who: Who, tenant: str, since: date, until: date) -> list[Row]:
    """Return what a tenant used, by day, the newest first."""
    return database.flush([who.context(), sql.usage(tenant=tenant, since=since, until=until)])[-1].rows


def add_usage(database: Database, who: Who, tenant: str, *, rows: int, size: int, milliseconds: float) -> None:
    """Count what a query gave back."""
    counted = sql.add_usage(tenant=tenant, rows=rows, bytes=size, milliseconds=round(milliseconds))
    database.flush([who.context(), counted])


def branches(database: Database, who: Who, tenant: str) -> list[Row]:
    """Return a tenant's branches."""
    return database.flush([who.context(), sql.list_branches(tenant=tenant)])[-1].rows


def add_branch(database: Database, who: Who, entered: Entered, name: str) -> tuple[Row, Jobs]:
    """Write a branch down with the job that makes it, as far as the plan has databases left."""
    tenant, branch = entered.row["id"], new_id("b")
    if entered.row["status"] != "active":
        raise Conflict("only an active tenant gets branches")
    with database.transaction() as transaction:
        _, counted, same = transaction.flush(
            [who.context(), sql.count_branches(tenant=tenant), sql.find_branch(tenant=tenant, branch=name)]
        )
        if same.rows:
            raise Conflict(f"there is a branch {name} already")
        if counted.rows[0]["n"] + 1 >= counted.rows[0]["max_databases"]:
            raise RequestRefused(
                f"The plan {entered.row['plan_type']} has {counted.rows[0]['max_databases']} databases, branches among"
                " them.",
                code="PLAN_LIMIT",
                status=409,
            )
        added, job = transaction.flush(
            [
                sql.add_branch(id=branch, tenant=tenant, name=name, created_by=who.subject),
                _job("make_branch", tenant, branch),
            ]
        )
    return added.rows[0], [(job.rows[0]["job_id"], "make_branch")]


def leave_branch(database: Database, who: Who, tenant: str, name: str) -> tuple[Row, Jobs]:
    """Close a branch and let it be removed."""
    found = _branch(database, who, tenant, name)
    with database.transaction() as transaction:
        _, left, job = transaction.flush(
            [who.context(), sql.leave_branch(branch=found["id"]), _job("remove_branch", tenant, found["id"])]
        )
    return left.rows[0], [(job.rows[0]["job_id"], "remove_branch")]


def place_of(database: Database, who: Who, keyring: Keyring, row: Row, branch: str | None = None) -> Place:
    """Return where a tenant's statements go: to its database, or to a branch of it."""
    if branch is None:
        return Place(row["id"], credentials_of(keyring, row))
    found = _branch(database, who, row["id"], branch)
    if found["status"] != "active":
        raise TenantClosed(
            "The branch is being made; try again in a moment.", code="BRANCH_NOT_READY", status=409, retry_helps=True
        )
    return Place(found["id"], credentials_of(keyring, found))


def user_of_key(database: Database, key_id: str) -> str | None:
    """Return the user whom a key was made for; None where it stands for itself."""
    found: str | None = database.query_one(sql.user_of_key, id=key_id)["user_id"]
    return found


def reseal(database: Database, keyring: Keyring) -> int:
    """Seal the secrets of tenants and branches anew with the current key; return of how many. Safe to repeat."""
    done = 0
    for row in database.query(sql.sealed_with_another, key_id=keyring.current):
        key_id, sealed = credentials_of(keyring, row).sealed(keyring, row["id"])
        again = sql.seal_tenant if row["id"].startswith("t") else sql.seal_branch
        done += len(database.query(again, id=row["id"], before=row["sealed"], sealed=sealed, key_id=key_id))
    return done


def credentials_of(keyring: Keyring, row: Row) -> Credentials:
    """Return the secrets of a tenant or a branch."""
    return opened(keyring, row["key_id"], row["sealed"], row["id"])


def _branch(database: Database, who: Who, tenant: str, name: str) -> Row:
    rows = database.flush([who.context(), sql.find_branch(tenant=tenant, branch=name)])[-1].rows
    if not rows:
        raise NotFound("there is no such branch")
    return rows[0]


def _job(topic: str, tenant: str, branch: str | None = None, due: datetime | None = None) -> Bound:
    if branch is not None and not BRANCH_ID.fullmatch(branch):
        raise InputRefused("no branch has such an id", field="branch", place="path")
    return sql.ask_job(
        topic=topic,
        tenant=tenant,
        key=f"{tenant}/{branch}" if branch else tenant,
        arguments={"branch": branch} if branch else {},
        due=due,
    )


def _missing() -> NotFound:
    return NotFound("there is no such tenant")
