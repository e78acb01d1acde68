"""Importing payments from a file, beside a plain COPY of the rows that it leaves, and of the file's own rows."""

import csv
import os
import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from itertools import batched
from pathlib import Path
from time import perf_counter

from bench.figures import Figure
from bench.ground import Ground, ground
from gatehouse.accounts import GatewayAccount
from gatehouse.imports.importing import find_or_begin, import_file
from gatehouse.imports.payment_rows import Reading
from tests.support.gatehouse_database import ROLE_PASSWORD

ROWS = 30_000
CUSTOMERS = 5_000
ROWS_A_PART = 2_000
ACCOUNT = GatewayAccount("mx_merchant", "clinic", "default", "live")
COLUMNS = (
    *("mx_payment_id", "amount", "transaction_date", "status", "mx_invoice_number", "customer_name", "customer_code"),
    *("source", "merchant_id"),
)
# What an import leaves behind, but for its own two rows.
TABLES = ("payments", "payment_objects", "facts", "payment_audit_log", "gateway_customers", "subject_names")
WRITTEN_BY_TRIGGERS = {"payment_audit_log"}  # of the others
LEAST_SHARE_OF_COPY = 0.3


def run() -> list[Figure]:
    """Import a file, then copy what it left: into the same tables emptied, and into tables without triggers."""
    with ground() as place:
        return measured(place)


def measured(place: Ground, rows: int = ROWS) -> list[Figure]:
    """Import a file of so many rows, and copy what that left."""
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-import-") as folder:
        file = Path(folder) / "transactions.csv"
        write_file(file, rows)
        seconds = imported(place, file, rows)
        in_place, bare = copied(place, Path(folder))
    a_row = 1e6 / rows
    return [
        Figure(
            "import of a payment (floor: COPY of its rows into the same tables)",
            seconds * a_row,
            "us",
            in_place * a_row,
            limit=1 / LEAST_SHARE_OF_COPY,
        ),
        Figure(
            "the same (floor: COPY into tables with no trigger, so no audit)",
            seconds * a_row,
            "us",
            bare * a_row,
        ),
        Figure("imported payments a second", rows / seconds, "/s"),
    ]


def write_file(file: Path, rows: int = ROWS) -> None:
    """Write as many rows of the seed's form."""
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for n in range(rows):
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


def imported(place: Ground, file: Path, rows: int) -> float:
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
    assert found == rows, f"{found} payments of {rows}"
    return seconds


def copied(place: Ground, folder: Path) -> tuple[float, float]:
    """Copy what was left into the tables that it came from, and into bare ones of the same make; return the seconds.

    What triggers of the first write (the audit, say) is copied into the bare ones only.
    """
    in_place = bare = 0.0
    for table in TABLES:
        psql(place, f"\\copy (select * from {table} order by 1, 2, 3) to '{folder}/{table}.copy'")  # noqa: S608 - our own tables
        place.database.sql(f"create table copied_{table} (like {table} including all)")
    place.database.sql("checkpoint")
    for table in TABLES:
        bare += timed(place, f"\\copy copied_{table} from '{folder}/{table}.copy'")
        place.database.sql(f"drop table copied_{table}")
    place.database.sql(
        "set session_replication_role = replica; truncate payments, payment_objects, facts, gateway_customers,"
        " subject_names, payment_audit_log cascade; checkpoint"
    )
    for table in TABLES:
        if table not in WRITTEN_BY_TRIGGERS:
            parts = split(folder / f"{table}.copy")
            in_place += timed(place, *(f"\\copy {table} from '{part}'" for part in parts))
    return in_place, bare


def split(data: Path) -> list[Path]:
    """Return a file in parts: the triggers lock names, and one transaction cannot hold the locks of all."""
    parts = []
    with data.open() as stream:
        for number, lines in enumerate(batched(stream, ROWS_A_PART, strict=False)):
            parts.append(data.with_name(f"{data.name}.{number:04}"))
            parts[-1].write_text("".join(lines))
    return parts


def timed(place: Ground, *commands: str) -> float:
    """Run commands of psql, each in a transaction of its own; return the seconds."""
    begun = perf_counter()
    psql(place, *commands)
    return perf_counter() - begun


def psql(place: Ground, *commands: str) -> None:
    """Run commands of psql as the superuser."""
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run(
        [place.server.binaries / "psql", "-qX", "-v", "ON_ERROR_STOP=1", place.database.address, *words],
        check=True,
        env={**os.environ, "PGPASSWORD": ROLE_PASSWORD},
    )
