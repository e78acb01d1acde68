"""`gatehouse merchants import`: 500 clinics from one file, all of them or none, twice without a second effect."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.errors import TransactionConflict
from gatehouse.imports import merchants as importing
from gatehouse.imports.files import open_records
from gatehouse.models.accounts import find_account, replace_credentials
from gatehouse.sealing import Keyring
from tests.support.gatehouse_database import GatehouseDatabase

HEADING = ("merchant", "name", "environment", "merchant_id", "consumer_key", "consumer_secret", "token", "notes")
TOKEN = "t" * 40

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a file of merchants."""

    def make(*rows: tuple[Any, ...]) -> Path:
        file = tmp_path / "merchants.csv"
        with file.open("w", newline="") as stream:
            csv.writer(stream).writerows([HEADING, *rows])
        return file

    return make


def clinic(number: int, **changes: str) -> tuple[str, ...]:
    """Return the row of one clinic."""
    row = {
        "merchant": f"clinic-{number}",
        "name": f"Clinic {number}",
        "environment": "production",
        "merchant_id": str(5_000_000 + number),
        "consumer_key": f"key{number}",
        "consumer_secret": f"consumer-secret-{number}",
        "token": "",
        "notes": "",
    }
    return tuple((row | changes).values())


def planned(database: Database, keyring: Keyring, file: Path) -> importing.Planned:
    """Read a file and compare it with what is there."""
    opened = open_records(file)
    columns, _ = importing.known_columns(opened.columns)
    return importing.plan(database, keyring, *importing.read_wanted(opened.records, columns))


@pytest.mark.req("G7", "M5", "O5")
def test_five_hundred_in_a_few_round_trips_sealed_and_twice_the_same(
    write: Write, gatehouse_database: GatehouseDatabase, ops: Database, keyring: Keyring
) -> None:
    file = write(*(clinic(number) for number in range(500)))
    ops.query("select 1")
    before = ops.statistics.flushes
    first = planned(ops, keyring, file)
    assert (len(first.add), first.wrong, first.new_merchants) == (500, [], 500)
    importing.write(ops, keyring, first)
    assert ops.statistics.flushes - before == 3, "what is there, of merchants and of accounts; and one that writes all"
    kept = find_account(ops, keyring, "mx_merchant", "clinic-77")
    assert kept.row["merchant"] == "clinic-77"
    assert kept.row["mode"] == "live"
    assert kept.for_intake.more == {
        "merchant_id": "5000077", "consumer_key": "key77", "consumer_secret": "consumer-secret-77"
    }  # fmt: skip
    assert len(kept.credentials["signing_secrets"][0]) >= 48, "a token was made here"
    at_rest = str(gatehouse_database.sql("select string_agg(a::text, '') from gateway_accounts a"))
    assert b"consumer-secret".hex() not in at_rest
    again = planned(ops, keyring, file)
    assert (again.add, again.change, again.unchanged) == ([], [], 500)
    assert "consumer-secret" not in repr(first)


@pytest.mark.req("G11", "G7")
def test_a_row_that_changes_keeps_the_old_token_valid(write: Write, ops: Database, keyring: Keyring) -> None:
    importing.write(ops, keyring, planned(ops, keyring, write(clinic(1, token=TOKEN), clinic(2))))
    made = find_account(ops, keyring, "mx_merchant", "clinic-2").credentials["signing_secrets"]
    newer = "n" * 40
    file = write(clinic(1, token=newer, name="First"), clinic(2, consumer_secret="another-secret"))
    change = planned(ops, keyring, file)
    assert (len(change.add), len(change.change)) == (0, 2)
    importing.write(ops, keyring, change)
    assert find_account(ops, keyring, "mx_merchant", "clinic-1").credentials["signing_secrets"] == [newer, TOKEN]
    second = find_account(ops, keyring, "mx_merchant", "clinic-2").credentials
    assert (second["signing_secrets"], second["consumer_secret"]) == (made, "another-secret")
    assert ops.query_one("select name from merchants where id = 'clinic-1'") == {"name": "First"}


def test_an_account_that_somebody_changed_meanwhile_undoes_all(write: Write, ops: Database, keyring: Keyring) -> None:
    importing.write(ops, keyring, planned(ops, keyring, write(clinic(1))))
    plan = planned(ops, keyring, write(clinic(1, consumer_secret="mine-is-newer"), clinic(2)))
    held = find_account(ops, keyring, "mx_merchant", "clinic-1")
    replace_credentials(ops, keyring, held, {**held.credentials, "consumer_secret": "theirs-is-newer"})
    with pytest.raises(TransactionConflict):
        importing.write(ops, keyring, plan)
    assert find_account(ops, keyring, "mx_merchant", "clinic-1").credentials["consumer_secret"] == "theirs-is-newer"
    assert ops.query("select from merchants where id = 'clinic-2'") == []


@pytest.mark.req("O5")
def test_everything_that_is_wrong_is_told_by_line_and_field_and_no_secret_is_quoted(
    write: Write, ops: Database, keyring: Keyring
) -> None:
    importing.write(ops, keyring, planned(ops, keyring, write(clinic(1), clinic(2, token=TOKEN))))
    file = write(
        clinic(3, merchant="Clinic Three"),
        clinic(4, environment="staging", consumer_secret=""),
        clinic(5, merchant_id="12ab"),
        clinic(6, token="short-secret"),
        clinic(7, consumer_secret="with:colon"),
        clinic(8),
        clinic(8),
        clinic(9, merchant_id="5000001"),
        clinic(10, token=TOKEN),
        clinic(1, environment="sandbox"),
        clinic(11)[:3],
    )
    found = planned(ops, keyring, file)
    assert sorted((each.line, each.field) for each in found.wrong) == [
        (2, "merchant"),
        (3, "consumer_secret"),
        (3, "environment"),
        (4, "merchant_id"),
        (5, "token"),
        (6, "consumer_secret"),
        (8, "account"),
        (8, "merchant_id"),
        (9, "merchant_id"),
        (10, "token"),
        (11, "environment"),
        (11, "merchant_id"),
        (12, "the row"),
    ]
    assert not any(secret in str(found.wrong) for secret in ("short-secret", "with:colon", TOKEN))
