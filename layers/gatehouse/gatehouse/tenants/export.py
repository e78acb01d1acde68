"""A tenant's rows as lines of JSON, for whoever leaves."""

import json
from collections.abc import Iterator

from gatehouse.database.direct_session import connect_direct
from gatehouse.database.sql import unnamed
from gatehouse.tenants.credentials import Credentials
from gatehouse.tenants.links import Safety
from gatehouse.tenants.names import KEEPER, quoted

CONNECT_MILLISECONDS = 10_000
ROWS_AT_ONCE = 500

_TABLES = unnamed(
    "select n.nspname as schema, c.relname as name from pg_catalog.pg_class c"
    " join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
    " where n.nspname in ('public', 'storage') and c.relkind in ('r', 'p') and not c.relispartition"
    " and c.relname <> 'gatehouse_migrations' order by 1, 2"
)
_NEXT = unnamed(f"fetch {ROWS_AT_ONCE} from gatehouse_export")


def exported(credentials: Credentials, safety: Safety) -> Iterator[str]:
    """Give a line for each row of each table, as they all are at one moment."""
    with connect_direct(
        credentials.address(KEEPER),
        application="gatehouse tenants export",
        options={},
        connect_milliseconds=CONNECT_MILLISECONDS,
        tls=safety.tls,
        tls_context=safety.context(credentials.authority) if safety.tls != "off" else None,
    ) as session:
        # Views and functions of the tenant's own are not run: only tables are read, and their rows turned into text.
        session.run("begin isolation level repeatable read read only; set local search_path = pg_catalog")
        for table in session.query(_TABLES()):
            name = f"{quoted(table['schema'])}.{quoted(table['name'])}"
            session.run(f"declare gatehouse_export no scroll cursor for select to_jsonb(t)::text as row from {name} t")  # noqa: S608 - a quoted name
            while rows := session.query(_NEXT()):
                for row in rows:
                    yield f'{{"table":{json.dumps(table["schema"] + "." + table["name"])},"row":{row["row"]}}}'
            session.run("close gatehouse_export")
