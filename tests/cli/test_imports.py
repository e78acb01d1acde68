"""`gatehouse import payments`: a file becomes rows as events do, once, however often it is stopped and begun again."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.errors import QueryError
from gatehouse.gateways import mx_merchant
from gatehouse.imports.importing import find_or_begin, import_file
from gatehouse.imports.payment_rows import Reading
from gatehouse.intake.record import Delivery, record
from gatehouse.sealing import Keyring
from tests.cli.conftest import ROOT, Command
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.gateway_rows import rows_of

CLINIC = GatewayAccount("mx_merchant", "default", "default", "live")
HEADING = (
    *("mx_payment_id", "amount", "transaction_date", "status", "mx_invoice_number", "customer_name", "customer_code"),
    *("source", "merchant_id", "raw_data"),
)
SALE = ("10090001", "205.96", "2026-11-02T10:00:00Z", "Settled", "1774", "Ann Example", "C1", "Recurring", "", "")
OPTIONS = ("--gateway", "mx_merchant", "--mode", "live")


def write(file: Path, *rows: tuple[str, ...]) -> Path:
    """Write a CSV with the seed's columns."""
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([HEADING, *rows])
    return file


def many(count: int) -> list[tuple[str, ...]]:
    """Return so many sales, of some customers, one after the other."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        (str(500_000 + n), f"{n % 90 + 1}.50", (begin + timedelta(minutes=n)).isoformat(), "Settled", str(n),
         f"Patient {n % 7}", f"C{n % 7}", "Recurring", "", "")
        for n in range(count)
    ]  # fmt: skip


@pytest.mark.req("M8", "O5")
def test_a_file_becomes_payments_customers_refunds_and_audit(
    gatehouse: Command, gatehouse_database: GatehouseDatabase, tmp_path: Path
) -> None:
    refund = ("10090002", "-5.96", "2026-11-03T10:00:00Z", "Approved", "1774", "", "C1", "", "", "")
    declined = ("10090003", "11.00", "Nov 4 2026 6:21PM", "Declined", "", "", "", "QuickPay", "", "")
    file = write(tmp_path / "clinic.csv", SALE, refund, declined)
    tried = gatehouse("import", "payments", str(file), *OPTIONS, "--dry-run")
    assert tried.returncode == 0, tried.stderr
    assert "3 rows of clinic.csv: 3 would be recorded, 0 refused" in tried.stdout
    assert "columns that mean nothing here: raw_data" in tried.stderr
    assert gatehouse_database.sql("select count(*)::int from facts") == [[0]]

    done = gatehouse("import", "payments", str(file), *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert "3 rows of clinic.csv: 3 recorded, 0 refused" in done.stdout
    assert gatehouse_database.sql(
        "select status, amount_minor::int, received_minor::int, currency, reference, customer_ref, livemode,"
        " source, (completed_at at time zone 'UTC')::text from payments order by id"
    ) == [
        ["completed", 20596, 20596, "USD", "1774", "C1", True, "Recurring", "2026-11-02 10:00:00"],
        ["failed", 1100, None, "USD", None, None, True, "QuickPay", None],
    ]
    assert gatehouse_database.sql("select gateway_id, name from gateway_customers") == [["C1", "Ann Example"]]
    assert gatehouse_database.sql("select gateway_id, status, amount_minor::int from refunds") == [
        ["10090002", "completed", 596]
    ]
    audited = gatehouse_database.sql("select table_name, actor from payment_audit_log order by 1")
    # The clinic's payments are of a membership, which follows them.
    assert {table for table, _ in audited} == {"gateway_customers", "memberships", "payments", "refunds"}
    assert {actor for _, actor in audited} == {"gatehouse_ops"}
    listed = gatehouse("import", "list").stdout
    assert "clinic.csv" in listed
    assert "through" in listed


@pytest.mark.req("M8", "G9")
def test_an_event_before_or_after_the_import_leads_to_the_same_rows(
    gatehouse_database: GatehouseDatabase, intake: Database, ops: Database, keyring: Keyring, tmp_path: Path
) -> None:
    body = json.loads((ROOT / "events/mx_merchant/PaymentSuccess.json").read_text())
    sale = (
        str(body["id"]),
        str(body["totalAmount"]),
        "2018-08-09T18:21:00Z",
        "Settled",
        "77",
        "X Y",
        "C9",
        "API",
        "",
        "",
    )
    file = write(tmp_path / "one.csv", sale)

    def event() -> None:
        raw = json.dumps(body).encode()
        told = mx_merchant.translate(mx_merchant.read_event(raw), "default")
        record(intake, Delivery(CLINIC, told, raw, datetime.now(UTC)), keyring)

    def importing() -> None:
        for _ in import_file(ops, CLINIC, file, Reading("mx_merchant"), find_or_begin(ops, CLINIC, file), print):
            pass

    def forget() -> None:
        gatehouse_database.sql(
            "set session_replication_role = replica; truncate facts, payments, payment_objects, gateway_customers,"
            " subject_names, webhook_events, webhook_payloads, imports, jobs, app_transactions, api_answers cascade"
        )

    found: list[dict[str, Any]] = []
    for order in ((event, importing), (importing, event)):
        for each in order:
            each()
        rows = rows_of(gatehouse_database.sql, "mx_merchant")
        found.append({table: rows[table] for table in ("payments", "gateway_customers")})
        forget()
    assert found[0] == found[1]
    [payment] = found[0]["payments"]
    assert payment["status"] == "completed"  # what the file says; the event alone claims less


@pytest.mark.req("M8")
def test_bad_rows_are_told_by_line_field_and_reason_and_cost_no_other(
    gatehouse: Command, gatehouse_database: GatehouseDatabase, tmp_path: Path
) -> None:
    def but(place: int, value: str) -> tuple[str, ...]:
        return (*SALE[:place], value, *SALE[place + 1 :])

    file = write(
        tmp_path / "bad.csv",
        but(0, ""),
        but(1, "12.345"),
        but(2, "yesterday"),
        but(2, "2026-11-02 10:00:00"),
        but(3, "Perhaps"),
        SALE,
        SALE[:4],
    )
    file.write_bytes(file.read_bytes() + b"1,1.00,2026-11-02T10:00:00Z,Settled,,\xff,C,,,\n")
    done = gatehouse("import", "payments", str(file), *OPTIONS)
    assert done.returncode == 3, done.stderr
    assert "8 rows of bad.csv: 1 recorded, 7 refused" in done.stdout
    with (tmp_path / "bad.csv.bad.csv").open(newline="") as stream:
        assert list(csv.reader(stream)) == [
            ["line", "field", "reason"],
            ["2", "mx_payment_id", "is missing"],
            ["3", "amount", "12.345 has more decimals than USD"],
            ["4", "transaction_date", "'yesterday' is no time such as 2026-05-15T10:00:00Z"],
            ["5", "transaction_date", "names no time zone; --zone says which is meant"],
            ["6", "status", "'Perhaps' is no status that we know"],
            ["8", "the row", "has 4 fields, the heading has 10"],
            ["9", "the row", "is not UTF-8, or holds a NUL"],
        ]
    assert gatehouse_database.sql("select count(*)::int from payments") == [[1]]
    assert gatehouse("import", "payments", str(file), *OPTIONS, "--zone", "Mars/Olympus").returncode == 2


@pytest.mark.req("M8")
def test_a_row_that_the_database_refuses_is_told_and_the_others_stay(
    gatehouse_database: GatehouseDatabase, ops: Database, tmp_path: Path
) -> None:
    gatehouse_database.sql("alter table payments add check (reference <> '3')")
    file = write(tmp_path / "refused.csv", *many(9))
    told: list[Any] = []
    running = find_or_begin(ops, CLINIC, file)
    steps = list(import_file(ops, CLINIC, file, Reading("mx_merchant"), running, told.extend))
    assert [(each.line, each.field) for each in told] == [(5, "the row")]
    assert sum(step.refused for step in steps) == 1
    assert gatehouse_database.sql("select count(*)::int from payments") == [[8]]
    assert gatehouse_database.sql("select rows_read::int, rows_refused::int from imports") == [[9, 1]]


@pytest.mark.req("M8")
def test_killed_at_any_point_it_goes_on_and_nothing_is_doubled(
    gatehouse: Command, gatehouse_database: GatehouseDatabase, tmp_path: Path
) -> None:
    file = write(tmp_path / "long.csv", *many(2600))
    environment = {"PATH": os.environ["PATH"], "STAGE": "local", "DATABASE_TLS": "off"}
    environment["POSTGRES_URL"] = gatehouse_database.url("ops")
    running = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "import", "payments", str(file), *OPTIONS], cwd=ROOT, env=environment
    )
    deadline = time.monotonic() + 30
    while gatehouse_database.sql("select count(*)::int from imports where place > 0") == [[0]]:
        assert time.monotonic() < deadline
        assert running.poll() is None
    running.send_signal(signal.SIGKILL)
    running.wait()
    at_work = "select count(*)::int from pg_stat_activity where datname = current_database() and usename like '%ops'"
    while gatehouse_database.sql(at_work) != [[0]]:  # the server finishes what was sent before the kill
        assert time.monotonic() < deadline
    [[read]] = gatehouse_database.sql("select rows_read::int from imports")
    assert 0 < read < 2600
    done = gatehouse("import", "payments", str(file), *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert f"going on after {read} rows" in done.stderr
    assert f"{2600 - read} rows of long.csv: " in done.stdout
    assert gatehouse_database.sql("select count(*)::int, sum(amount_minor)::int from payments") == [
        [2600, sum((n % 90 + 1) * 100 + 50 for n in range(2600))]
    ]
    assert gatehouse_database.sql("select count(*)::int from facts where kind = 'payment'") == [[2600]]
    again = gatehouse("import", "payments", str(file), *OPTIONS)
    assert again.returncode == 1
    assert "was imported at" in again.stderr
    once_more = gatehouse("import", "payments", str(file), *OPTIONS, "--again")
    assert "2600 rows of long.csv: 0 recorded, 2600 known already, 0 refused" in once_more.stdout
    assert gatehouse_database.sql("select count(*)::int from facts where kind = 'payment'") == [[2600]]
    refolded = gatehouse("payments", "refold", "--all", "--dry-run")
    assert refolded.returncode == 0, refolded.stdout


@pytest.mark.req("M8")
def test_two_of_the_same_do_not_both_go_on(ops: Database, tmp_path: Path) -> None:
    file = write(tmp_path / "twice.csv", *many(4))
    first, second = find_or_begin(ops, CLINIC, file), find_or_begin(ops, CLINIC, file)
    list(import_file(ops, CLINIC, file, Reading("mx_merchant"), first, print))
    with pytest.raises(QueryError, match="gone on elsewhere"):
        list(import_file(ops, CLINIC, file, Reading("mx_merchant"), second, print))


@pytest.mark.req("P14", "M8")
def test_an_erased_customer_stays_erased(
    gatehouse: Command, gatehouse_database: GatehouseDatabase, tmp_path: Path
) -> None:
    lines = [
        {"payment_id": "70001", "amount": 5, "occurred_at": "2026-01-05T00:00:00Z", "status": "paid",
         "customer_id": "C7", "customer_name": "Jane Gone", "email": "jane@example.com", "metadata": {"note": "jane"}},
        {"payment_id": "70002", "amount": "6.00", "occurred_at": "2026-01-06T00:00:00Z", "status": "paid",
         "email": "stays@example.com"},
    ]  # fmt: skip
    file = tmp_path / "people.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)) + "\n\n{")
    gatehouse_database.sql("insert into customers (merchant, email) values ('default', 'jane@example.com')")
    assert gatehouse("customers", "erase", "jane@example.com", "--merchant", "default", "--yes").returncode == 0
    done = gatehouse("import", "payments", str(file), *OPTIONS)
    assert done.returncode == 3, done.stderr
    assert "3 rows of people.jsonl: 2 recorded, 1 refused" in done.stdout
    everything = "".join(
        str(gatehouse_database.sql(f"select t::text from {table} t"))
        for table in ("payments", "facts", "gateway_customers", "customers", "payment_audit_log")
    )
    assert "jane" not in everything.lower()
    assert "stays@example.com" in everything


@pytest.mark.req("M8")
def test_what_is_missing_is_named_before_anything_is_written(gatehouse: Command, tmp_path: Path) -> None:
    file = write(tmp_path / "off.csv", SALE)
    missing = gatehouse("import", "payments", str(file), "--gateway", "mx_merchant")
    assert missing.returncode == 1
    assert "--mode is missing" in missing.stderr
    headless = tmp_path / "headless.csv"
    headless.write_text("a,b\n1,2\n")
    assert "or mx_payment_id or payment_id or" in gatehouse("import", "payments", str(headless), *OPTIONS).stderr
