"""Statements on a tenant's database: who may what, how much of it comes back, how exactly, and what is left behind."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pg8000.exceptions  # type: ignore[import-untyped]  # pg8000 ships no types
import pytest

from gatehouse.errors import StatementRefused, TenantStatementFailed
from gatehouse.tenants.guard import checked
from gatehouse.tenants.run import MOST_BYTES, Query, answer_text
from tests.support.postgres import run_sql
from tests.tenants.conftest import Site

TWO_USERS = ("00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002")


@pytest.fixture(scope="module")
def shared_tenant(site: Site) -> str:
    return site.tenant()


@pytest.fixture
def plain(site: Site, shared_tenant: str) -> Iterator[Site]:
    """The tenants of this file, as if nobody had used them."""
    site.links.opened, site.links.most = 0, 10
    yield site
    site.clean(shared_tenant)


@pytest.fixture
def tenant(shared_tenant: str) -> str:
    return shared_tenant


def refused(plain: Site, tenant: str, *texts: str | Query, role: str = "owner", **options: Any) -> str | None:
    """Return the SQLSTATE with which the server refuses."""
    with pytest.raises(TenantStatementFailed) as error:
        plain.run(tenant, *texts, role=role, **options)
    return error.value.sqlstate


@pytest.mark.req("T3")
def test_values_come_back_exactly(plain: Site, tenant: str) -> None:
    ran = plain.run(
        tenant,
        """select 1::smallint as small, 9007199254740993 as big, 9007199254740991 as fits,
            0.1000000000000000055511 as num,
            'NaN'::numeric as nan, 'Infinity'::float8 as inf, 1.5::float8 as float, true as yes,
            null::text as nothing,
            timestamptz '2026-05-15 10:00:00.123456+02' as at, timestamp '2026-05-15 10:00' as local,
            timestamptz 'infinity' as ever, date '2026-05-15' as day, '\\x00ff'::bytea as bytes,
            '{"a": 12345678901234567890.5}'::jsonb as doc, array[1, null, 3] as list,
            array[['a', 'b"'], ['c', '}']] as nest,
            array[1.10, 2] as nums, 'ä"\\' as text, interval '1 day 2 hours' as took, 1 as twice, 2 as twice""",
    )
    text = answer_text(ran, is_array=False)
    assert '"big":"9007199254740993","fits":9007199254740991,"num":"0.1000000000000000055511"' in text
    assert '"doc":{"a": 12345678901234567890.5}' in text
    said = json.loads(text, parse_float=Decimal)
    row = said["data"][0]
    assert said["success"] is True
    assert said["rowCount"] == 1
    assert said["executionTime"] > 0
    assert (row["nan"], row["inf"], row["float"], row["yes"], row["nothing"]) == (
        "NaN",
        "Infinity",
        Decimal("1.5"),
        True,
        None,
    )
    assert (row["at"], row["local"]) == ("2026-05-15T08:00:00.123456+00:00", "2026-05-15T10:00:00")
    assert (row["ever"], row["day"], row["bytes"]) == ("infinity", "2026-05-15", "AP8=")
    assert (row["list"], row["nest"], row["nums"]) == ([1, None, 3], [["a", 'b"'], ["c", "}"]], ["1.10", "2"])
    assert (row["text"], row["took"], row["twice"], row["twice_2"]) == ('ä"\\', "1 day 02:00:00", 1, 2)
    assert {"name": "num", "type": "numeric"} in said["columns"]
    assert {"name": "nest", "type": "text[]"} in said["columns"]


@pytest.mark.req("T3")
def test_parameters_are_no_sql(plain: Site, tenant: str) -> None:
    wanted = Query(
        "select $1::text as t, $2::integer as n, $3::boolean as b, $4::text[] as l, $5::jsonb as j, $6::text as none",
        ["'; drop table profiles; --", 5, True, ["a", 'b"', None], {"k": [1]}, None],
    )
    assert json.loads(plain.rows(tenant, wanted)[0]) == {
        "t": "'; drop table profiles; --",
        "n": 5,
        "b": True,
        "l": ["a", 'b"', None],
        "j": {"k": [1]},
        "none": None,
    }
    assert refused(plain, tenant, Query("select $1::integer as n", ["x"])) == "22P02"


@pytest.mark.req("T3")
def test_errors_say_sqlstate_and_position(plain: Site, tenant: str) -> None:
    with pytest.raises(TenantStatementFailed) as error:
        plain.run(tenant, "select nothing from profiles")
    assert (error.value.sqlstate, error.value.position) == ("42703", 8)
    assert 'column "nothing" does not exist' in str(error.value)
    assert refused(plain, tenant, "select 1; select 2") == "42601"


@pytest.mark.req("T3")
def test_an_array_is_one_transaction(plain: Site, tenant: str) -> None:
    insert = Query("insert into profiles (email) values ($1)", ["a@example.com"])
    assert refused(plain, tenant, insert, "select 1/0 as n") == "22012"
    assert plain.rows(tenant, "select count(*)::integer as n from profiles") == ['{"n":0}']
    ran = plain.run(tenant, insert, "select email from profiles")
    assert [each.row_count for each in ran.results] == [1, 1]
    assert ran.results[1].rows == ['{"email":"a@example.com"}']
    with pytest.raises(TenantStatementFailed, match="statement 2"):
        plain.run(tenant, "select 1 as n", "select 1/0 as n", "select 3 as n")


@pytest.mark.req("T3")
def test_a_viewer_reads_only(plain: Site, tenant: str) -> None:
    plain.run(tenant, "create table notes (n integer)")
    plain.run(tenant, "insert into notes values (1)", role="developer")
    assert plain.rows(tenant, "select n from notes", role="viewer") == ['{"n":1}']
    for write in ("insert into notes values (2)", "delete from notes", "create table mine (n integer)"):
        with pytest.raises(StatementRefused, match="a viewer reads only"):
            plain.run(tenant, write, role="viewer")
    # What passes the first words is refused by the transaction and the role.
    assert refused(plain, tenant, "with w as (delete from notes returning 1) select * from w", role="viewer") in (
        "42501",
        "25006",
    )
    assert refused(plain, tenant, "select n into other from notes", role="viewer") in ("42501", "25006")
    assert plain.rows(tenant, "select count(*)::integer as n from notes") == ['{"n":1}']


@pytest.mark.req("T3")
def test_two_tenants_do_not_reach_each_other_nor_the_platform(plain: Site, tenant: str) -> None:
    other = plain.tenant()
    plain.run(tenant, "create table secrets (n text)")
    plain.run(tenant, "insert into secrets values ('of the first')")
    assert refused(plain, other, "select * from secrets") == "42P01"
    assert refused(plain, other, "select * from platform_tenants") == "42P01"
    # The roles of one cannot even connect to the database of the other.
    mine, theirs = (plain.places[each].credentials for each in (other, tenant))
    for role in ("owner", "developer", "viewer"):
        with pytest.raises(pg8000.exceptions.DatabaseError, match="permission denied for database"):
            run_sql(mine.at(mine.host, mine.port, theirs.database).address(role), "select 1")


@pytest.mark.req("T2")
def test_row_level_security_shows_each_user_his_own(plain: Site, tenant: str) -> None:
    for number, user in enumerate(TWO_USERS):
        plain.run(tenant, Query("insert into profiles (id, email) values ($1, $2)", [user, f"u{number}@example.com"]))
    for number, user in enumerate(TWO_USERS):
        me: dict[str, Any] = {"claims": {"sub": user, "role": "authenticated"}, "role": "developer"}
        assert plain.rows(tenant, "select email from profiles", **me) == [f'{{"email":"u{number}@example.com"}}']
        assert plain.rows(tenant, "select auth.uid() as uid, auth.role() as role", **me) == [
            f'{{"uid":"{user}","role":"authenticated"}}'
        ]
        plain.run(tenant, Query("insert into projects (name, owner_id) values ('mine', $1)", [user]), **me)
        assert len(plain.rows(tenant, "select name from projects", **me)) == 1
        update = plain.run(tenant, "update profiles set name = 'me'", **me)
        assert update.results[0].row_count == 1
    one, two = TWO_USERS
    theirs = Query("insert into projects (name, owner_id) values ('not mine', $1)", [two])
    assert refused(plain, tenant, theirs, claims={"sub": one}, role="developer") == "42501"
    assert plain.rows(tenant, "select count(*)::integer as n from profiles") == ['{"n":2}']  # the owner sees all
    assert plain.rows(tenant, "select email from profiles", claims={"sub": one}, acts_as_user=True) == [
        '{"email":"u0@example.com"}'
    ]


@pytest.mark.req("T2", "T3")
def test_nobody_who_writes_sql_can_take_anothers_claims(plain: Site, tenant: str) -> None:
    one, two = TWO_USERS
    for user in TWO_USERS:
        plain.run(tenant, Query("insert into profiles (id, email) values ($1, $2)", [user, f"{user}@example.com"]))
    plain.run(
        tenant,
        f"""create function public.pretend() returns setof text language plpgsql as $$ begin
        execute 'set local request.jwt.claims = ''{{"sub":"{two}"}}''';
        return query select email from public.profiles; end $$""",
        role="developer",
    )
    assert plain.rows(tenant, "select * from pretend()", role="developer", claims={"sub": one}) == []
    for stolen in ("select * from auth.signing_key", "select inner_block from auth.signing_key"):
        for role in ("owner", "developer", "viewer"):
            assert refused(plain, tenant, stolen, role=role) == "42501"


@pytest.mark.req("T3")
def test_results_are_cut_off_at_the_caps(plain: Site, tenant: str) -> None:
    for asked, caps, cut in ((1000, 1000, False), (1001, 1000, True), (100_000, 1000, True), (200, 200, False)):
        heard = plain.run(tenant, f"select n from generate_series(1, {asked}) as n", most_rows=caps).results[0]
        assert (len(heard.rows), heard.truncated) == (min(asked, caps), cut), asked
    wide = plain.run(tenant, "select repeat('x', 1000000) as t from generate_series(1, 100)").results[0]
    assert wide.truncated
    assert sum(map(len, wide.rows)) < MOST_BYTES
    assert refused(plain, tenant, "select repeat('x', 50000000) as t") == "54000"
    assert plain.rows(tenant, "select 1 as n") == ['{"n":1}']


@pytest.mark.req("T3")
def test_a_statement_has_its_time(plain: Site, tenant: str) -> None:
    forever = "select count(*) as n from generate_series(1, 1000000000)"
    assert refused(plain, tenant, forever, statement_milliseconds=100) == "57014"
    assert refused(plain, tenant, "select 1 as n", forever, statement_milliseconds=100) == "57014"
    assert refused(plain, tenant, "select 1 as n", seconds_left=0.2) == "57014"
    working = (
        "select count(*) from pg_stat_activity"
        " where query like '%1000000000%' and state = 'active' and pid <> pg_backend_pid()"
    )
    assert run_sql(plain.server.url(), working) == [[0]]


@pytest.mark.req("T3")
def test_nothing_of_a_request_is_left_for_the_next(plain: Site, tenant: str) -> None:
    plain.run(
        tenant,
        """create function public.leave() returns void language plpgsql as $$ begin
        execute 'set statement_timeout = 0'; execute 'set search_path = auth';
        execute 'listen news'; execute 'prepare left_over as select 1'; end $$""",
    )
    opened = plain.links.opened
    plain.run(tenant, "select leave() is null as n")
    assert plain.rows(tenant, "select count(*)::integer as n from pg_prepared_statements") == ['{"n":0}']
    assert plain.rows(tenant, "select count(*)::integer as n from pg_listening_channels()") == ['{"n":0}']
    (said,) = plain.rows(
        tenant, "select current_setting('search_path') as path, current_setting('statement_timeout') as t"
    )
    assert json.loads(said)["path"] == '"$user", public'
    assert json.loads(said)["t"] == "10s"
    assert plain.links.opened == opened  # over one and the same connection


@pytest.mark.req("T3")
def test_connections_are_used_again_and_bounded(plain: Site, tenant: str) -> None:
    others = [plain.tenant() for _ in range(2)]
    plain.links.most = 2
    for each in (tenant, tenant, tenant):
        plain.rows(each, "select 1 as n")
    assert plain.links.opened == 1
    for each in others:
        plain.rows(each, "select 1 as n")
    assert len(plain.links) == 2


@pytest.mark.req("T4")
def test_where_storage_is_used_up_only_what_frees_it_is_written(plain: Site, tenant: str) -> None:
    plain.run(tenant, "create table filler (n integer)")
    for text in ("insert into filler values (1)", "update filler set n = 2", "create table more (n integer)"):
        with pytest.raises(StatementRefused, match="storage of the plan is used up") as error:
            plain.run(tenant, text, is_full=True)
        assert error.value.code == "STORAGE_FULL"
    assert (
        refused(plain, tenant, "with w as (insert into filler values (1) returning 1) select * from w", is_full=True)
        == "25006"
    )
    plain.run(tenant, "delete from filler", is_full=True)
    plain.run(tenant, "truncate filler", is_full=True)
    plain.run(tenant, "drop table filler", is_full=True)


@pytest.mark.req("T3")
@pytest.mark.parametrize(
    "text",
    [
        *("commit", "ROLLBACK", "begin", "end", "savepoint a", "set role postgres", "reset all", "discard all"),
        *("copy profiles to stdout", "copy (select 1) to program 'id'", "listen x", "notify x", "do $$ begin end $$"),
        *("prepare p as select 1", "execute p", "declare c cursor for select 1", "lock profiles", "vacuum", "load 'x'"),
        *("create role x", "alter role x password 'y'", "create extension dblink", "create or replace language plperl"),
        *(
            "alter system set x = 1",
            "create event trigger e on sql_drop execute function f()",
            "create temp table t ()",
        ),
        *(
            "drop database x",
            "create foreign table t () server s",
            "",
            "  -- nothing",
            "/* /* */ */ commit",
            "(( commit",
        ),
        *("alter database x set y = 1", "create server s foreign data wrapper w", "create subscription s", "select\0"),
    ],
)
def test_what_is_refused_by_its_first_words(text: str) -> None:
    with pytest.raises(StatementRefused):
        checked(text, "owner")


@pytest.mark.req("T3")
@pytest.mark.parametrize(
    "text",
    [
        *("select 1", "(select 1) union (select 2)", "/* a /* b */ */ -- c\n WITH x as (select 1) table x", "show all"),
        *("values (1)", "explain select 1", "insert into t values (1)", "create or replace function f() returns int"),
        *("create table role (n int)", "alter table database add n int", "drop policy p on t", "create unique index i"),
    ],
)
def test_what_passes_by_its_first_words(text: str) -> None:
    checked(text, "owner")
