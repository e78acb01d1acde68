"""Finds what is not as the tenants' rows say, on the engines and in the queue, and mends it."""

from collections.abc import Iterable
from typing import NamedTuple

from gatehouse.errors import GatehouseError
from gatehouse.tenants.links import Links
from gatehouse.tenants.records import Row, credentials_of, sql
from gatehouse.tenants.run import Place, Query, run
from gatehouse.tenants.schema import bring_up_to_date
from gatehouse.tenants.worker import Workshop, wanted

ORPHAN, MISSING, STUCK, CLOSED = "orphan", "missing", "stuck", "closed"


class Finding(NamedTuple):
    """Something that is not as it must be."""

    kind: str  # orphan: nobody's; missing: has no database; stuck: its job was given up; closed: does not let us in
    engine: str
    id: str
    words: str


def examine(shop: Workshop, engines: Iterable[str], links: Links | None = None) -> list[Finding]:
    """Return all findings; with `links` each active database is also tried."""
    found: list[Finding] = []
    for name in engines:
        rows = {row["id"]: row for row in shop.database.query(sql.present, engine=name)}
        branches = {each["id"]: each for row in rows for each in shop.database.query(sql.list_branches, tenant=row)}
        things = shop.engine(name).inventory().things
        for thing in sorted(things.keys() - rows.keys() - branches.keys()):
            found.append(Finding(ORPHAN, name, thing, ", ".join(things[thing])))
        for tenant, row in rows.items():
            if row["status"] in ("active", "suspended") and tenant not in things:
                found.append(Finding(MISSING, name, tenant, f"{row['name']} has no database"))
            elif links is not None and row["status"] == "active" and (why := _closed(shop, links, row)):
                found.append(Finding(CLOSED, name, tenant, why))
        found += [
            Finding(STUCK, name, job["tenant"], f"{job['topic']}: {job['last_error']}")
            for job in shop.database.query(sql.jobs_of)
            if job["tenant"] in rows
        ]
    return found


def mend(shop: Workshop, finding: Finding) -> tuple[str, int | None]:
    """Mend a finding; return what was done, and the job to ring for where there is one."""
    engine = shop.engine(finding.engine)
    if finding.kind == ORPHAN:
        engine.remove_orphan(finding.id)
        return "removed", None
    if finding.kind == STUCK:
        row = shop.database.query_one(sql.reopen_job, tenant=finding.id, topic=finding.words.partition(":")[0])
        return "its job goes on", int(row["id"])
    row = shop.database.query_one(sql.find_tenant, tenant=finding.id)
    credentials = engine.make(wanted(shop, row))
    key_id, sealed = credentials.sealed(shop.keyring(), finding.id)
    version = bring_up_to_date(credentials, shop.safety)
    shop.database.flush(
        [
            sql.keep_credentials(tenant=finding.id, sealed=sealed, key_id=key_id),
            sql.keep_schema_version(tenant=finding.id, schema_version=version),
        ]
    )
    return "made again, empty" if finding.kind == MISSING else "passwords and rights set anew", None


def _closed(shop: Workshop, links: Links, row: Row) -> str:
    """Return why a tenant's database does not let its callers in, or nothing."""
    place = Place(row["id"], credentials_of(shop.keyring(), row))
    for role in ("owner", "developer", "viewer"):
        try:
            run(links, place, role, [Query("select 1 as n")], claims={})
        except GatehouseError as error:
            return f"{role}: {error}"
    links.forget(row["id"])
    return ""
