"""The migrations of this project: there and back again, and what they make is what schema.sql says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pg8000.exceptions  # type: ignore[import-untyped]  # pg8000 ships no types
import pytest

from gatehouse.migrations import schema
from gatehouse.migrations.engine import Engine
from gatehouse.migrations.files import migrations_folder, read_migrations
from gatehouse.migrations.sessions import Target, open_reader
from local.postgres import PostgresServer
from tests.conftest import DatabaseFactory
from tests.support.gatehouse_database import BACKUP_ROLES, OWNER, ROLE_PASSWORD, ROLES, make_roles
from tests.support.postgres import database_name, run_sql

ByHand = Callable[[str], list[list[Any]]]
FOLDER = Path(__file__).parents[2] / "migrations" / "primary"


def empty(server: PostgresServer, fresh_database: DatabaseFactory, database: str) -> Engine:
    """Return the engine for an empty database whose owner is no superuser, as in production."""
    make_roles(server.url())
    name = database_name(fresh_database(owner=OWNER))
    target = Target(database, server.url(name, OWNER, quote(ROLE_PASSWORD)), tls="off")
    return Engine(target, FOLDER.with_name(database))


@pytest.fixture
def owned(postgres_server: PostgresServer, fresh_database: DatabaseFactory) -> Engine:
    """The primary database, empty."""
    return empty(postgres_server, fresh_database, "primary")


@pytest.fixture(params=["primary", "backup"])
def either(postgres_server: PostgresServer, fresh_database: DatabaseFactory, request: pytest.FixtureRequest) -> Engine:
    """Either of the databases, empty."""
    return empty(postgres_server, fresh_database, request.param)


@pytest.fixture
def by_hand(postgres_server: PostgresServer, owned: Engine) -> ByHand:
    """Return a function that does something in that database past the migrations."""
    return lambda text: run_sql(postgres_server.url(database_name(owned.target.address)), text)


def described(engine: Engine) -> str:
    with open_reader(engine.target) as session:
        return schema.describe(session)


@pytest.mark.req("P13")
def test_up_down_to_nothing_and_up_again(either: Engine) -> None:
    names = tuple(migration.name for migration in read_migrations(either.folder))
    empty = described(either)
    assert either.up() == names
    full = described(either)
    assert either.down(to=0) == names[::-1]
    assert described(either) == empty
    assert either.up() == names
    assert described(either) == full


@pytest.mark.req("M7")
def test_every_table_with_a_merchant_is_held_by_row_level_security(
    either: Engine, postgres_server: PostgresServer
) -> None:
    either.up()
    open_to_all = run_sql(
        postgres_server.url(database_name(either.target.address)),
        "select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid "
        "where c.relkind in ('r', 'p') and not c.relispartition and c.relnamespace = 'public'::regnamespace "
        "and (a.attname = 'merchant' or c.relname = 'merchants') and not (c.relrowsecurity and c.relforcerowsecurity)",
    )
    assert open_to_all == []


@pytest.mark.req("M7", "T3")
def test_only_the_roles_of_the_functions_get_in(either: Engine, postgres_server: PostgresServer) -> None:
    """A tenant's role of the same server does not, whatever it knows."""
    either.up()
    name = database_name(either.target.address)
    run_sql(postgres_server.url(), "drop role if exists stranger; create role stranger login password 'stranger'")
    asked = "select current_user::text"
    with pytest.raises(pg8000.exceptions.DatabaseError, match="permission denied for database"):
        run_sql(postgres_server.url(name, "stranger", "stranger"), asked)
    for role in ROLES if either.target.database == "primary" else BACKUP_ROLES:
        may = f"select has_database_privilege('{role}', '{name}', 'connect')"
        assert run_sql(postgres_server.url(), may) == [[True]], role
    (closing,) = either.folder.glob("*_closed_to_other_roles.sql")
    either.down(to=int(closing.name[:4]) - 1)
    assert run_sql(postgres_server.url(name, "stranger", "stranger"), asked) == [["stranger"]]
    run_sql(postgres_server.url(), "drop role stranger")


@pytest.mark.req("P13")
def test_each_step_can_be_undone_alone(either: Engine) -> None:
    for number in range(1, len(read_migrations(either.folder)) + 1):
        before = described(either)
        either.up(to=number)
        either.down()
        assert described(either) == before
        either.up(to=number)


@pytest.mark.req("P3", "P13")
def test_orders_of_before_are_found_in_the_newer_ways_too(owned: Engine, by_hand: ByHand) -> None:
    owned.up()
    (newer,) = FOLDER.glob("*_when_items_were_ordered.sql")
    owned.down(to=int(newer.name[:4]) - 1)
    by_hand(
        "select set_config('gatehouse.merchant', 'default', false);"
        """select create_order(
            '{"currency": "USD", "subtotal_minor": 1, "tax_minor": 0, "fee_minor": 0, "discount_minor": 0,
              "total_minor": 1, "livemode": true}', '{"email": "john.doe@example.com"}',
            '[{"item_type": "vip", "quantity": 1, "unit_minor": 1, "total_minor": 1}]', 'ALB', 'UTC', now(), null,
            null);
        update orders set created_at = '2026-01-01'"""
    )
    changes = by_hand("select count(*) from payment_audit_log")
    owned.up()
    assert by_hand("select ordered_at = '2026-01-01' from order_items") == [[True]]
    for table in ("orders", "customers"):
        words = by_hand(f"select search @@ '''default/john.doe.exa'':*' from {table}")
        assert words == [[True]], table
    assert by_hand("select count(*) from payment_audit_log") == changes, (
        "nobody did anything that the audit should tell"
    )


@pytest.mark.req("M5", "P13")
def test_memberships_of_before_are_counted(owned: Engine, by_hand: ByHand) -> None:
    (counts,) = FOLDER.glob("*_counts_of_memberships.sql")
    owned.up(to=int(counts.name[:4]) - 1)
    by_hand(
        "insert into memberships (merchant, gateway, account, customer_ref, livemode, category, status_by_rule)"
        " select 'default', 'mx_merchant', 'default', 'C' || n, true, 'TRT', 'active' from generate_series(1, 7) as n"
    )
    owned.up()
    assert by_hand("select category, status, memberships, missed from membership_counts") == [["TRT", "active", 7, 0]]


@pytest.mark.req("P13")
def test_the_schema_is_what_the_committed_description_says(either: Engine) -> None:
    either.up()
    written = schema.schema_file(either.folder).read_text(encoding="utf-8")
    assert schema.differences(written, described(either)) == (), "run `gatehouse migrate schema --write`"
    assert described(either) == written
    assert either.verify() == ()


@pytest.mark.req("P13")
def test_the_description_is_the_same_for_another_owner(owned: Engine, fresh_database: DatabaseFactory) -> None:
    owned.up()
    by_superuser = Engine(Target("primary", fresh_database(), tls="off"), FOLDER)
    by_superuser.up()
    assert described(by_superuser) == described(owned)


@pytest.mark.req("P13")
@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("alter table merchants add column colour text", "+    colour text,"),
        ("drop index webhook_events_failed", "-CREATE INDEX webhook_events_failed"),
        ("alter table jobs no force row level security", "+ALTER TABLE jobs ENABLE ROW LEVEL SECURITY;"),
        ("grant delete on payments to gatehouse_api", "+GRANT DELETE, SELECT ON TABLE payments TO gatehouse_api;"),
        ("drop policy own_merchant on jobs", "-CREATE POLICY own_merchant ON jobs"),
        ("drop trigger append_only on payment_audit_log", "-CREATE TRIGGER append_only"),
        ("create view seen as select id from merchants", "+CREATE VIEW seen AS SELECT id FROM merchants;"),
        ("create type mood as enum ('good')", "+CREATE TYPE mood AS ENUM ('good');"),
        ("alter function write_audit() security invoker", "- SECURITY DEFINER"),
        ("grant execute on function write_audit() to public", "-REVOKE ALL ON FUNCTION write_audit() FROM PUBLIC;"),
        ("alter table merchants alter column name drop not null", "-    name text NOT NULL,"),
        ("alter table payments drop constraint payments_currency_check", "-    CONSTRAINT payments_currency_check"),
        ("comment on table payments is 'money'", "+COMMENT ON TABLE payments IS 'money';"),
        ("alter sequence payment_ids cache 7", "+CREATE SEQUENCE payment_ids"),
        ("create schema apart", "+CREATE SCHEMA apart;"),
        ("alter table jobs set (fillfactor = 70)", "+) WITH (fillfactor=70);"),
        (
            "alter default privileges in schema public grant select on tables to gatehouse_ops",
            "+ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO gatehouse_ops;",
        ),
    ],
)
def test_verify_sees_what_somebody_changed_by_hand(owned: Engine, by_hand: ByHand, change: str, line: str) -> None:
    owned.up()
    by_hand(change)
    found = owned.verify()
    assert found[0] == "the schema is not what schema.sql says (- is missing, + is only in the database):"
    assert any(each.startswith(line) for each in found), found


@pytest.mark.req("P13")
def test_numbers_in_views_are_part_of_the_description(owned: Engine, by_hand: ByHand) -> None:
    owned.up()
    by_hand("create view halves as select m.id, 1048576.5 / 2 as half from merchants m")
    assert "SELECT id, (1048576.5 / (2)::numeric) AS half FROM merchants m" in described(owned)


@pytest.mark.req("P13")
def test_monthly_partitions_are_not_part_of_the_description(owned: Engine, by_hand: ByHand) -> None:
    owned.up()
    before = described(owned)
    by_hand("select make_payload_partitions(3)")
    assert described(owned) == before
    assert "webhook_payloads_default" in before


@pytest.mark.req("P13")
def test_the_roles_are_made_and_held_by_row_level_security(owned: Engine, by_hand: ByHand) -> None:
    owned.up(to=1)
    # Roles belong to the server, so those of the other databases' migrations may be there as well.
    rows = by_hand(
        "select rolname::text, rolsuper or rolbypassrls or rolcreaterole or rolcreatedb from pg_roles"
        f" where rolname in ({', '.join(f"'{role}'" for role in ROLES)}) order by 1",
    )
    assert rows == [[role, False] for role in sorted(ROLES)]


@pytest.mark.req("P13", "D1")
def test_a_folder_beside_the_package_holds_them() -> None:
    assert migrations_folder("primary") == FOLDER
