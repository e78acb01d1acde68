"""Importing payments from a file, beside a plain COPY of the rows that it leaves, and of the file's own rows."""

import csv
import os
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

from bench.figures import Figure
from bench.ground import Ground, ground
from gatehouse.accounts import GatewayAccount
from gatehouse.imports.importing import find_or_begin, import_file
from gatehouse.imports.payment_rows import Reading
from tests.support.gatehouse_database import ROLE_PASSWORD

ROWS = 60_000
CUSTOMERS = 5_000
ACCOUNT = GatewayAccount("mx_merchant", "clinic", "default", "live")
COLUMNS = (
    *("mx_payment_id", "amount", "transaction_date", "status", "mx_invoice_number", "customer_name", "customer_code"),
    *("source", "merchant_id"),
)
# What an import leaves behind, but for its own two rows.
TABLES = ("payments", "payment_objects", "facts", "payment_audit_log", "gateway_customers", "subject_names")
LEAST_SHARE_OF_COPY = 0.3


def run() -> list[Figure]:
    """Import a file, then copy what it left into tables of the same make."""
    with ground() as place, tempfile.TemporaryDirectory(prefix="gatehouse-bench-import-") as folder:
        file = Path(folder) / "transactions.csv"
        write_file(file)
        seconds = imported(place, file)
        floor, of_the_file = copied(place, Path(folder))
    a_row = 1e6 / ROWS
    return [
        Figure(
            "import of a payment from a file (floor: COPY of the rows that it leaves, same indexes)",
            seconds * a_row,
            "us",
            floor * a_row,
            limit=1 / LEAST_SHARE_OF_COPY,
        ),
        Figure("the same, in payments a second", ROWS / seconds, "/s"),
        Figure("COPY of the file's rows into a bare copy of payments, its indexes included", of_the_file * a_row, "us"),
    ]


def write_file(file: Path) -> None:
    """Write as many rows of the seed's form."""
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for n in range(ROWS):
            customer = n % CUSTOMERS
            at = begin + timedelta(minutes=10 * n)
            status = "Declined" if n % 29 == 0 else "Settled"
            writer.writerow(
                (
                    10_000_000 + n,
                    f"{(n * 37) % 500 + 1}.{n % 100:02}",
                    at.isoformat(),
                    status,
                    1000 + n,
                    f"Patient {customer}",
                    f"C{customer:05}",
                    "Recurring" if n % 3 else "QuickPay",
                    1_000_000_001,
                )
            )


def imported(place: Ground, file: Path) -> float:
    """Import the file as the command does; return the seconds."""
    database = place.database.connect("ops")
    try:
        begun = perf_counter()
        running = find_or_begin(database, ACCOUNT, file)
        reading = Reading("mx_merchant", merchant_id="1000000001")
        for _step in import_file(database, ACCOUNT, file, reading, running, lambda refused: print(*refused, sep="\n")):
            pass
        seconds = perf_counter() - begun
    finally:
        database.close()
    [[found]] = place.database.sql("select count(*)::int from payments")
    assert found == ROWS, f"{found} payments of {ROWS}"
    return seconds


def copied(place: Ground, folder: Path) -> tuple[float, float]:
    """Copy what was left out and into bare tables of the same make; return the seconds of the way in."""
    total = of_payments = 0.0
    place.database.sql("checkpoint")
    for table in TABLES:
        data = folder / f"{table}.copy"
        psql(place, f"\\copy (select * from {table} order by 1, 2, 3) to '{data}'")  # noqa: S608 - the tables are ours
        place.database.sql(f"create table copied_{table} (like {table} including all)")
        begun = perf_counter()
        psql(place, f"\\copy copied_{table} from '{data}'")
        spent = perf_counter() - begun
        total += spent
        if table == "payments":
            of_payments = spent
        place.database.sql(f"drop table copied_{table}")
    return total, of_payments


def psql(place: Ground, command: str) -> None:
    """Run one command of psql as the superuser."""
    subprocess.run(
        [place.server.binaries / "psql", "-qX", "-v", "ON_ERROR_STOP=1", place.database.address, "-c", command],
        check=True,
        env={**os.environ, "PGPASSWORD": ROLE_PASSWORD},
    )
