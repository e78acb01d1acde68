"""Which questions this API answers; each module beside this one holds those about one kind of thing."""

from collections.abc import Iterable
from typing import cast

from gatehouse.http_api.application import application
from gatehouse.http_api.callers import Desk
from gatehouse.http_api.front import Front
from tenants_api import branches, permissions, queries, tenants
from tenants_api.desk import TenantsDesk

ROUTERS = (tenants.router, queries.router, permissions.router, branches.router)
DESCRIPTION = "Tenants with a Postgres database of their own: made, asked, shared, branched, metered and removed."


def build(desk: TenantsDesk, origins: Iterable[str] = ()) -> Front:
    """Return the API, working with this desk, open to pages of these origins."""
    # The desk has all that a Desk has, and more.
    return application("Gatehouse tenants", DESCRIPTION, ROUTERS, cast(Desk, desk), origins, documents_at="/api/v1")
