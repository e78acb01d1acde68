"""Tenants: how soon one is ready, and what a guarded query costs beside the same over a plain connection of pg8000."""

from collections.abc import Callable
from statistics import quantiles
from time import perf_counter
from typing import Any

import pg8000.native  # type: ignore[import-untyped]  # pg8000 ships no types

from bench.figures import Figure, alternating
from gatehouse.tenants.credentials import Credentials
from gatehouse.tenants.engines import Wanted
from gatehouse.tenants.engines.plain import PlainEngine
from gatehouse.tenants.engines.prepare import prepare_cluster
from gatehouse.tenants.links import Links, Safety
from gatehouse.tenants.names import names_of, new_id
from gatehouse.tenants.run import Place, Query, answer_text
from gatehouse.tenants.run import run as run_query
from gatehouse.tenants.schema import bring_up_to_date
from local.postgres import PostgresServer
from tests.support.postgres import running_server

TENANTS = 12
QUERIES = 100
ROUNDS = 5
SAFETY = Safety("off")
MAKER, PASSWORD = "gatehouse_tenants", "only_for_a_bench"
STATEMENT = "select n, 'row ' || n as name, n * 1.5 as price, now() as at from generate_series(1, {}) as n"
SIZES = {"of one row": 1, "of a hundred rows": 100, "of a thousand rows": 1000}
READY_SECONDS = 10.0
QUERY_LIMIT = 1.5


def run() -> list[Figure]:
    """Measure both on a cluster of its own, with its disk as a server has it."""
    with running_server(fsync="on", full_page_writes="on") as server:
        return measured(server)


def measured(
    server: PostgresServer, *, tenants: int = TENANTS, queries: int = QUERIES, rounds: int = ROUNDS
) -> list[Figure]:
    """Make so many tenants on a cluster, and ask the first of them so often in each round."""
    prepare_cluster(server.url(), MAKER, PASSWORD, SAFETY)
    engine = PlainEngine(server.url("postgres", MAKER, PASSWORD), SAFETY)
    taken: list[float] = []
    places = [_made(engine, taken) for _ in range(tenants)]
    p95 = quantiles(taken, n=20)[18]
    figures = [Figure("a tenant is ready on plain Postgres, p95", p95, "s", limit=READY_SECONDS)]
    links = Links(SAFETY, 4)
    for words, rows in SIZES.items():
        count = max(queries // 5, queries // max(1, rows // 10))
        figures.append(_query(links, places[0], words, rows, count, rounds))
    figures.append(Figure("connections opened for all of these queries", float(links.opened), "in all", limit=1))
    links.close()
    return figures


def _made(engine: PlainEngine, taken: list[float]) -> Place:
    """Do what the job does, and note how long it took."""
    began = perf_counter()
    tenant = new_id("t")
    names = names_of(tenant)
    wanted = Wanted(tenant, names, None, {}, Credentials.new(names), lambda _: None)
    credentials = engine.make(wanted)
    bring_up_to_date(credentials, SAFETY)
    taken.append(perf_counter() - began)
    return Place(tenant, credentials)


def _query(links: Links, place: Place, words: str, rows: int, count: int, rounds: int) -> Figure:
    statement = f"select * from ({STATEMENT.format(rows)}) q where n > "  # noqa: S608 - a constant of this file
    claims = {"sub": "00000000-0000-4000-8000-000000000001", "role": "authenticated"}
    made = place.credentials
    direct = pg8000.native.Connection(
        made.users["viewer"],
        host=made.host,
        port=made.port,
        database=made.database,
        password=made.passwords["viewer"],
        ssl_context=False,
    )

    def plainly() -> None:
        found: list[Any] = direct.run(statement + ":least", least=0)
        assert len(found) == rows

    def guarded() -> None:
        query = Query(statement + "$1", [0])
        ran = run_query(links, place, "viewer", [query], claims=claims)
        assert answer_text(ran, is_array=False).startswith('{"success":true')

    try:
        spent = alternating(lambda: _each(plainly, count), lambda: _each(guarded, count), rounds=rounds)
    finally:
        direct.close()
    return Figure(f"a query {words}", spent.value, "ms", floor=spent.floor, limit=QUERY_LIMIT)


def _each(work: Callable[[], None], times: int) -> float:
    began = perf_counter()
    for _ in range(times):
        work()
    return (perf_counter() - began) * 1000 / times
