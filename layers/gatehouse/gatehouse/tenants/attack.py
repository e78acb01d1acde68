"""The guard attacks itself: every way out that is known to us is tried on a tenant's database, as callers could.

An attack is held when it is refused, or when what it brings back or leaves behind says nothing of anybody else. When
one gets through, SQL over HTTP is switched off for the engine until somebody has looked.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from gatehouse.errors import GatehouseError, StatementRefused, TenantStatementFailed
from gatehouse.tenants.links import Links
from gatehouse.tenants.run import Place, Query, run

STATEMENT_MILLISECONDS = 400
HELD, PASSED = "held", "PASSED"


class Attack(NamedTuple):
    """One way out. Without `never` and `probe` it must be refused."""

    name: str
    statements: tuple[str, ...]
    role: str = "owner"
    never: str = ""  # what no answer may hold; {other} is the id of another tenant
    probe: str = ""  # asked afterwards, by the next caller of the same role
    says: str = ""  # what the probe must say
    only_plain: bool = False  # on a project of its own it is nobody else's business


class Outcome(NamedTuple):
    """What became of one attack."""

    attack: Attack
    verdict: str
    told: str


_COUNT = "select count(*)::integer as n from attacked"
_MAKE = (
    "create or replace function public.attack_it() returns text language plpgsql as $f$ begin {}; return 'x'; end $f$"
)
_CALL = "select public.attack_it() as t"


def _by_function(name: str, inside: str, **more: str | bool) -> Attack:
    """Return an attack by what a function does that its caller may make himself."""
    return Attack(f"{name}, from a function", (_MAKE.format(inside), _CALL), **more)  # type: ignore[arg-type]  # its fields


ATTACKS: tuple[Attack, ...] = (
    # more than one statement, and ways out of the transaction
    Attack("several statements", ("select 1 as n; drop table attacked",)),
    Attack("several statements, the first empty", ("; drop table attacked",), "viewer"),
    Attack("a comment that hides a second statement", ("select 1 as n --\n; drop table attacked",)),
    Attack("COMMIT", ("commit", "delete from attacked")),
    Attack("COMMIT after a comment", ("/* x /* y */ */ commit",)),
    Attack(
        "COMMIT, from a procedure",
        ("create procedure public.p() language plpgsql as $$ begin commit; end $$", "call public.p()"),
    ),
    # a viewer who writes
    Attack("INSERT by a viewer", ("insert into attacked values (2)",), "viewer"),
    Attack("writing CTE by a viewer", ("with w as (delete from attacked returning 1) select * from w",), "viewer"),
    Attack("READ WRITE by a viewer", ("set transaction read write", "delete from attacked"), "viewer"),
    Attack("SELECT INTO by a viewer", ("select * into public.copied from attacked",), "viewer"),
    Attack("EXPLAIN ANALYZE of a write by a viewer", ("explain analyze delete from attacked",), "viewer"),
    Attack("setval by a viewer", ("select setval('public.attacked_seq', 1000) as n",), "viewer"),
    Attack("nextval by a viewer", ("select nextval('public.attacked_seq') as n",), "viewer"),
    Attack("FOR UPDATE by a viewer", ("select * from attacked for update",), "viewer"),
    Attack("a viewer calls a writing function", ("select public.attack_write() as n",), "viewer"),
    Attack(
        "set_config turns writing on",
        (
            "with s as materialized (select set_config('transaction_read_only', 'off', true) as v)"
            " select v, public.attack_write() as n from s",
        ),
        "viewer",
    ),
    # another role
    Attack("SET ROLE", ("set role postgres",)),
    Attack("RESET ROLE", ("reset role",)),
    Attack("SET SESSION AUTHORIZATION", ("set session authorization postgres",)),
    _by_function("SET ROLE to the keeper", "execute format('set role %I', current_database() || '_keeper')"),
    _by_function("SET ROLE to a superuser", "execute 'set role postgres'"),
    Attack(
        "set_config of the role",
        ("select set_config('role', current_database() || '_keeper', false) as r",),
        "viewer",
        only_plain=True,
    ),
    Attack("a role of one's own", ("create role attacker superuser",)),
    _by_function("a role of one's own", "execute 'create role attacker'"),
    Attack("a role's password", ("alter role current_user password 'x'",)),
    _by_function("membership of another role", "execute 'grant pg_read_all_data to ' || quote_ident(current_user)"),
    Attack("membership of pg_read_server_files", ("grant pg_read_server_files to current_user",)),
    # the server's files and programs
    Attack("COPY PROGRAM", ("copy attacked to program 'id'",)),
    _by_function("COPY PROGRAM", "execute 'copy attacked to program ''id'''"),
    _by_function("COPY to a file", "execute 'copy attacked to ''/tmp/gatehouse-attack'''"),
    Attack("COPY FROM STDIN", ("copy attacked from stdin",)),
    Attack("pg_read_file", ("select pg_read_file('postgresql.conf') as t",)),
    Attack("pg_read_binary_file", ("select pg_read_binary_file('PG_VERSION') as t",)),
    Attack("pg_ls_dir", ("select pg_ls_dir('.') as t",)),
    Attack("pg_stat_file", ("select (pg_stat_file('PG_VERSION')).size as n",)),
    Attack("lo_import", ("select lo_import('/etc/passwd') as n",)),
    Attack("lo_export", ("select lo_export(1, '/tmp/gatehouse-attack') as n",)),
    Attack("LOAD", ("load 'auto_explain'",)),
    Attack(
        "a function in C",
        ("create function public.system(cstring) returns int as 'libc.so.6', 'system' language c",),
    ),
    Attack("an untrusted language", ("create language plpython3u",)),
    Attack("ALTER SYSTEM", ("alter system set archive_command = 'id'",)),
    # the network, and other databases
    Attack("dblink", ("create extension dblink",)),
    Attack("dblink in FROM", ("select * from dblink('dbname=postgres', 'select 1') as t (n int)",)),
    _by_function("CREATE EXTENSION", "execute 'create extension dblink'"),
    Attack("postgres_fdw", ("create server s foreign data wrapper postgres_fdw",)),
    Attack("file_fdw", ("create foreign table f (t text) server s",)),
    Attack(
        "a subscription", ("create subscription s connection 'dbname=postgres' publication p with (connect = false)",)
    ),
    _by_function("another database by name", "execute 'select * from {other_database}.public.attacked'"),
    Attack("another database", ("create database attacker",)),
    _by_function(
        "settings of the database", "execute format('alter database %I set statement_timeout = 0', current_database())"
    ),
    # who else is there
    Attack("pg_database", ("select datname from pg_database",), never="{other}", only_plain=True),
    Attack("pg_roles", ("select rolname from pg_roles",), never="{other}", only_plain=True),
    Attack("pg_authid", ("select rolname, rolpassword from pg_authid",)),
    Attack("pg_shadow", ("select * from pg_shadow",)),
    Attack("pg_stat_activity", ("select * from pg_stat_activity",), never="{other}", only_plain=True),
    Attack("pg_stat_get_activity", ("select * from pg_stat_get_activity(null)",), never="{other}", only_plain=True),
    Attack("pg_stat_database", ("select datname from pg_stat_database",), never="{other}", only_plain=True),
    Attack("pg_locks", ("select * from pg_locks",), only_plain=True),
    Attack("pg_stat_statements", ("select * from pg_stat_statements",)),
    Attack(
        "pg_settings of the server's files",
        ("select setting from pg_settings where name in ('data_directory', 'hba_file', 'config_file')",),
        never="/",
    ),
    Attack("the ledger of migrations", ("select * from public.gatehouse_migrations",)),
    Attack("the key that signs claims", ("select * from auth.signing_key",)),
    _by_function(
        "the key that signs claims", "execute 'alter table auth.signing_key owner to ' || quote_ident(current_user)"
    ),
    Attack(
        "a function of ours, made anew",
        ("create or replace function auth.uid() returns uuid language sql as $$ select null::uuid $$",),
    ),
    Attack("XML of the whole database", ("select database_to_xml(true, true, '') as t",), never="{other}"),
    Attack(
        "a query inside XML",
        ("select query_to_xml('select datname from pg_database', true, true, '')::text as t",),
        "viewer",
        never="{other}",
    ),
    # holding up, and leaving something behind
    Attack("pg_sleep", ("select pg_sleep(30)",)),
    _by_function("a loop without end", "loop perform 1; end loop"),
    Attack(
        "time-out switched off, then a loop",
        (
            "select set_config('statement_timeout', '0', true) as t",
            "select count(*) as n from generate_series(1, 100000000000)",
        ),
    ),
    Attack(
        "a result without end",
        ("select repeat('x', 100000) as t from generate_series(1, 100000000)",),
        never="nothing: it is cut off",
    ),
    Attack("one huge row", ("select repeat('x', 90000000) as t",)),
    Attack("advisory lock", ("select pg_advisory_lock(1) is null as l",), only_plain=True),
    Attack("pg_notify", ("select pg_notify('news', 'x') is null as l",), only_plain=True),
    Attack("LISTEN", ("listen news",)),
    Attack("PREPARE", ("prepare left_over as select 1",)),
    _by_function(
        "PREPARE",
        "execute 'prepare left_over as select 1'",
        probe="select count(*)::integer as n from pg_prepared_statements",
        says='{"n":0}',
    ),
    _by_function(
        "LISTEN",
        "execute 'listen news'",
        probe="select count(*)::integer as n from pg_listening_channels()",
        says='{"n":0}',
    ),
    _by_function(
        "a setting for the session",
        "execute 'set search_path = pg_temp'",
        probe="select current_setting('search_path') as s",
        says='{"s":"\\"$user\\", public"}',
    ),
    Attack("a temporary table", ("create temp table left_over (n integer)",)),
    _by_function("a temporary table", "execute 'create temp table left_over (n integer)'"),
    Attack("a cursor that is held", ("declare c cursor with hold for select 1",)),
    Attack("DO", ("do $$ begin perform 1; end $$",)),
    Attack("an event trigger", ("create event trigger e on ddl_command_start execute function f()",)),
    _by_function("an event trigger", "execute 'create event trigger e on sql_drop execute function f()'"),
    Attack("another session's end", ("select pg_terminate_backend(pid) as t from pg_stat_activity",), only_plain=True),
    Attack("a large object", ("select lo_create(4711) as n",), only_plain=True),
    Attack("DROP SCHEMA auth", ("drop schema auth cascade",)),
    Attack("VACUUM", ("vacuum full",)),
    Attack("the platform's tables", ("select * from platform_tenants",)),
)


def prepare(links: Links, place: Place) -> None:
    """Make what is attacked."""
    for text in (
        "create table public.attacked (n integer)",
        "insert into attacked values (1)",
        "create sequence public.attacked_seq",
        "create function public.attack_write() returns integer language sql volatile as"
        " $$ insert into public.attacked values (3) returning n $$",
    ):
        run(links, place, "owner", [Query(text)], claims={})


def attack_all(
    links: Links, place: Place, other: str, *, is_plain: bool, attacks: Sequence[Attack] = ATTACKS
) -> list[Outcome]:
    """Try every attack on a tenant's database, with another tenant's id to look for; `prepare` goes before."""
    return [_tried(links, place, other, each) for each in attacks if is_plain or not each.only_plain]


def _tried(links: Links, place: Place, other: str, attack: Attack) -> Outcome:
    try:
        ran = [
            run(
                links,
                place,
                attack.role,
                [Query(text.replace("{other_database}", f"gh_{other}"))],
                claims={},
                statement_milliseconds=STATEMENT_MILLISECONDS,
            )
            for text in attack.statements
        ]
    except (StatementRefused, TenantStatementFailed) as refused:
        return _probed(links, place, attack, f"refused: {refused}")
    except GatehouseError as error:
        return Outcome(attack, PASSED, f"broke the connection: {error}")
    text = " ".join(row for each in ran for heard in each.results for row in heard.rows)
    if attack.never:
        found = re.search(re.escape(attack.never.replace("{other}", other)), text)
        return Outcome(attack, PASSED, f"showed {found[0]}") if found else Outcome(attack, HELD, "showed nothing")
    if attack.probe:
        return _probed(links, place, attack, "left nothing")
    return Outcome(attack, PASSED, f"was done: {text[:200]}")


def _probed(links: Links, place: Place, attack: Attack, told: str) -> Outcome:
    probe, says = (attack.probe, attack.says) if attack.probe else (_COUNT, '{"n":1}')
    try:
        (row,) = run(links, place, attack.role, [Query(probe)], claims={}).results[0].rows
    except GatehouseError as error:
        return Outcome(attack, PASSED, f"{told}; but afterwards: {error}")
    if row != says:
        return Outcome(attack, PASSED, f"{told}; but afterwards: {row[:200]}")
    return Outcome(attack, HELD, told)
