"""The jobs that make and remove tenants and their branches. Each may be cut off anywhere, and is taken up from there.

A tenant's row is there before anything of it is, and stays for ever: what an engine has under a name of ours without
such a row, or after its removal, is an orphan. Jobs of one tenant never run side by side, as a removal must come last.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.errors import EngineError, GatehouseError
from gatehouse.jobs.claim import Done, Held, Hopeless, Job, Outcome, Postponed, Worker
from gatehouse.jobs.topics import TOPICS
from gatehouse.observability import log, metrics
from gatehouse.sealing import Keyring
from gatehouse.tenants.credentials import Credentials
from gatehouse.tenants.engines import Engine, Wanted
from gatehouse.tenants.links import Safety
from gatehouse.tenants.names import names_of
from gatehouse.tenants.records import MEGABYTE, Row, credentials_of, sql
from gatehouse.tenants.schema import bring_up_to_date

OTHER_JOB_SECONDS = 5.0
MOST_REASON = 300


class Workshop(NamedTuple):
    """What the jobs work with."""

    database: Database
    keyring: Callable[[], Keyring]
    engine: Callable[[str], Engine]
    safety: Safety


def workers(shop: Workshop) -> Mapping[str, Worker]:
    """Return the worker of each topic."""
    return {
        "provision_tenant": lambda job: _alone(shop, job, provision),
        "remove_tenant": lambda job: _alone(shop, job, remove),
        "make_branch": lambda job: _alone(shop, job, make_branch),
        "remove_branch": lambda job: _alone(shop, job, remove_branch),
    }


def provision(shop: Workshop, job: Job, row: Row) -> Outcome:
    """Make a tenant's database, or go on with it; undo all of it where it can never be made."""
    if row["status"] != "creating":
        return Done()
    engine = shop.engine(row["engine"])
    try:
        credentials = engine.make(wanted(shop, row))
        _keep(shop, row["id"], credentials)
        version = bring_up_to_date(credentials, shop.safety)
    except GatehouseError as error:
        if error.retry_helps and job.attempts < TOPICS[job.topic].most_attempts:
            return Postponed(f"{error.code}: {error}", getattr(error, "retry_after_seconds", None) or 0.0)
        return _undo(shop, engine, row, error)
    metrics.measure("TenantReadyTime", (datetime.now(UTC) - row["created_at"]).total_seconds() * 1000)
    return Done(
        (
            sql.keep_schema_version(tenant=row["id"], schema_version=version),
            sql.move_status(
                tenant=row["id"], status="active", reason=None, delete_after=None, **{"from": ["creating"]}
            ),
        )
    )


def remove(shop: Workshop, job: Job, row: Row) -> Outcome:  # noqa: ARG001 - as every worker here
    """Remove all that was made of a deleted tenant, once its days of grace are over."""
    if row["status"] != "deleted" or row["removed_at"] is not None:
        return Done()
    if row["delete_after"] is not None and (left := (row["delete_after"] - datetime.now(UTC)).total_seconds()) > 0:
        return Held("the days of grace are not over", left)
    _remove_all(shop, shop.engine(row["engine"]), row)
    return Done((sql.branches_removed(tenant=row["id"]), sql.removed(tenant=row["id"], reason=None)))


def make_branch(shop: Workshop, job: Job, row: Row) -> Outcome:
    """Make a copy of a tenant's database, or go on with it."""
    branch = _branch(shop, row["id"], str(job.arguments.get("branch")))
    if branch is None or branch["status"] != "creating" or row["status"] not in ("active", "suspended"):
        return Done()
    engine, branch_id = shop.engine(row["engine"]), branch["id"]

    def save(state: dict[str, Any]) -> None:
        shop.database.query(sql.keep_branch_state, branch=branch_id, state=state)

    try:
        if not engine.can_branch:
            raise EngineError("there are no branches on this engine", retry_helps=False)
        made = engine.make_branch(wanted(shop, row), branch["id"], dict(branch["engine_state"]), save)
    except GatehouseError as error:
        if error.retry_helps and job.attempts < TOPICS[job.topic].most_attempts:
            return Postponed(f"{error.code}: {error}", getattr(error, "retry_after_seconds", None) or 0.0)
        branch = _branch(shop, row["id"], branch["id"]) or branch
        engine.remove_branch(wanted(shop, row), branch["id"], branch["engine_state"])
        return Done((sql.branch_removed(branch=branch["id"], reason=str(error)[:MOST_REASON]),))
    key_id, sealed = made.sealed(shop.keyring(), branch["id"])
    return Done((sql.branch_made(branch=branch["id"], sealed=sealed, key_id=key_id),))


def remove_branch(shop: Workshop, job: Job, row: Row) -> Outcome:
    """Remove a copy."""
    branch = _branch(shop, row["id"], str(job.arguments.get("branch")))
    if branch is None or row["removed_at"] is not None:
        return Done()
    shop.engine(row["engine"]).remove_branch(wanted(shop, row), branch["id"], branch["engine_state"])
    return Done((sql.branch_removed(branch=branch["id"], reason=None),))


def measure(shop: Workshop, engines: tuple[str, ...]) -> int:
    """Measure how large the tenants' databases are, and forget windows that are over; return how many were measured."""
    measured = unmeasured = 0
    shares = [0.0]  # of the storage that each plan allows
    for name in engines:
        engine = shop.engine(name)
        for row in shop.database.query(sql.present, engine=name):
            if row["status"] == "creating" or row["sealed"] is None:
                continue
            try:
                size = engine.storage_bytes(wanted(shop, row))
            except GatehouseError as error:
                log.warning("a tenant's storage could not be measured", tenant=row["id"], reason=str(error))
                unmeasured += 1
                continue
            shares.append(100 * size / (row["max_storage_mb"] * MEGABYTE))
            shop.database.query(sql.storage_measured, tenant=row["id"], bytes=size)
            measured += 1
    shop.database.query(sql.forget_windows)
    metrics.count("TenantsMeasured", measured)
    metrics.count("TenantsUnmeasured", unmeasured)
    metrics.measure("TenantFullest", max(shares))
    metrics.measure("TenantsOverLimit", sum(share > 100 for share in shares))
    return measured


def wanted(shop: Workshop, row: Row) -> Wanted:
    """Return a tenant as its engine sees it; its secrets are made and kept before anything else is."""
    names = names_of(row["id"])
    if row["sealed"] is None:
        credentials = Credentials.new(names)
        if row["removed_at"] is None:
            _keep(shop, row["id"], credentials)
    else:
        credentials = credentials_of(shop.keyring(), row)

    def save(state: dict[str, Any]) -> None:
        shop.database.query(sql.keep_engine_state, tenant=row["id"], state=state)

    return Wanted(row["id"], names, row["region"], dict(row["engine_state"]), credentials, save)


def _alone(shop: Workshop, job: Job, work: Callable[[Workshop, Job, Row], Outcome]) -> Outcome:
    """Work for a tenant unless another job of it is under way."""
    tenant = str(job.arguments.get("tenant"))
    rows, others = (
        shop.database.query(sql.find_tenant, tenant=tenant),
        shop.database.query(sql.others_at_work, tenant=tenant, job=job.id),
    )
    if not rows:
        return Hopeless("there is no such tenant")
    if others:
        return Held("another job of the tenant is under way", OTHER_JOB_SECONDS)
    log.add(tenant=tenant)
    return work(shop, job, rows[0])


def _undo(shop: Workshop, engine: Engine, row: Row, error: GatehouseError) -> Outcome:
    """Take back what was made of a tenant that can never be made."""
    fresh = shop.database.query_one(sql.find_tenant, tenant=row["id"])
    _remove_all(shop, engine, fresh)
    metrics.count("TenantsNotMade")
    log.error("a tenant could not be made, and was undone", tenant=row["id"], reason=str(error))
    return Done((sql.removed(tenant=row["id"], reason=f"could not be made: {error}"[:MOST_REASON]),))


def _remove_all(shop: Workshop, engine: Engine, row: Row) -> None:
    branches = shop.database.query(sql.list_branches, tenant=row["id"])
    engine.remove(wanted(shop, row), {each["id"]: each["engine_state"] for each in branches})


def _keep(shop: Workshop, tenant: str, credentials: Credentials) -> None:
    key_id, sealed = credentials.sealed(shop.keyring(), tenant)
    shop.database.query(sql.keep_credentials, tenant=tenant, sealed=sealed, key_id=key_id)


def _branch(shop: Workshop, tenant: str, branch: str) -> Row | None:
    rows = shop.database.query(sql.find_branch, tenant=tenant, branch=branch)
    return rows[0] if rows else None
