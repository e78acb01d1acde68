"""Makes rows anew from their facts, batch by batch, and tells what was not as its facts say.

Nothing can be lost on the way: a batch is one transaction, and folding a row twice leaves what folding it once leaves.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.database.sql import Bound, load_statements
from gatehouse.errors import TransactionConflict
from gatehouse.intake.record import MOST_ATTEMPTS, account_lock, folding

sql = load_statements(Path(__file__).with_name("refold.sql"))

# Payments come last, as they take their refunds and their app from the others.
ORDER = ("customer", "invoice", "payout", "refund", "dispute", "subscription", "payment")
ROWS_A_BATCH = 200
ROWS_A_WINDOW = 2000


class Difference(NamedTuple):
    """A value that was not what the facts say."""

    kind: str
    id: int
    column: str
    before: Any
    after: Any


class Place(NamedTuple):
    """How far the work has come: everything up to this row is done."""

    kind: str
    id: int


class Batch(NamedTuple):
    """What one step did."""

    done: Place
    rows: int
    differences: list[Difference]


class Chosen(NamedTuple):
    """Which rows are made anew; by default all of them."""

    kinds: tuple[str, ...] = ORDER
    since: datetime | None = None  # by the gateway's clock
    after: Place | None = None
    merchant: str | None = None  # only this one's rows whose app is found by plan or default, or whose plan is below
    plans: tuple[str, ...] = ()


def refold_payment(database: Database, payment: int, *, dry_run: bool = False) -> list[Difference]:
    """Make a payment anew, after its refunds and disputes; return what differed."""
    parts = database.query(sql.parts_of_payment, payment=payment)
    parts.sort(key=lambda part: ORDER.index(part["kind"]))
    found: list[Difference] = []
    for kind, rows in groupby(parts, key=lambda part: part["kind"]):
        found += _fold(database, kind, list(rows), dry_run=dry_run)
    return found


def refold_many(database: Database, chosen: Chosen, *, dry_run: bool = False) -> Iterator[Batch]:
    """Make the chosen rows anew and yield after each batch; whoever stops goes on after the last one's place."""
    kinds = chosen.kinds
    if chosen.after:
        kinds = kinds[kinds.index(chosen.after.kind) :]
    for kind in kinds:
        after = chosen.after.id if chosen.after and chosen.after.kind == kind else 0
        while window := database.query(
            sql.window,
            kind=kind,
            after=after,
            most=ROWS_A_WINDOW,
            since=chosen.since,
            merchant=chosen.merchant,
            plans=list(chosen.plans),
        ):
            wanted = [row for row in window if row["is_wanted"]]
            for start in range(0, len(wanted), ROWS_A_BATCH):
                rows = wanted[start : start + ROWS_A_BATCH]
                differences = _fold(database, kind, rows, dry_run=dry_run)
                yield Batch(Place(kind, rows[-1]["id"]), len(rows), differences)
            after = window[-1]["id"]
            yield Batch(Place(kind, after), 0, [])


def last_ids(database: Database) -> dict[str, int]:
    """Return the highest number of each kind: where the work ends."""
    return {kind: last or 0 for kind, last in database.query_one(sql.last_ids).items()}


def wait_for_recordings(database: Database, accounts: Iterable[GatewayAccount]) -> None:
    """Wait until every recording that is under way at these accounts has ended; those that follow see what we wrote."""
    for account in accounts:
        database.flush([account_lock(account, alone=True)], idempotent=True)


def _fold(database: Database, kind: str, rows: list[dict[str, Any]], *, dry_run: bool) -> list[Difference]:
    """Make rows of one kind anew, each account's in a transaction of its own."""

    def owner(row: dict[str, Any]) -> tuple[str, str, str]:
        return row["gateway"], row["account"], row["merchant"]

    found: list[Difference] = []
    for (gateway, name, merchant), theirs in groupby(sorted(rows, key=owner), key=owner):
        account = GatewayAccount(gateway, name, merchant, "both")
        found += _fold_of_account(database, account, kind, sorted(row["id"] for row in theirs), dry_run=dry_run)
    return found


def _fold_of_account(
    database: Database, account: GatewayAccount, kind: str, ids: list[int], *, dry_run: bool
) -> list[Difference]:
    for attempt in range(1, MOST_ATTEMPTS + 1):
        try:
            with database.transaction(merchant=account.merchant) as transaction:
                if dry_run:
                    transaction.undo()
                _lock, followers = transaction.flush([account_lock(account), sql.followers(kind=kind, ids=ids)])
                touched = {kind: ids}
                for row in followers.rows:
                    touched.setdefault(row["kind"], [])
                    touched[row["kind"]] = sorted({*touched[row["kind"]], row["id"]})
                locks = [_lock_rows(each, theirs) for each, theirs in touched.items()]
                read = [sql.rows(kind=each, ids=theirs) for each, theirs in touched.items()]
                results = transaction.flush([*locks, *read, *folding(account, kind, ids), *read])
            before, after = results[len(locks) : len(locks) + len(read)], results[-len(read) :]
            return [
                difference
                for each, old, new in zip(touched, before, after, strict=True)
                for difference in _differences(each, old.rows, new.rows)
            ]
        except TransactionConflict:
            if attempt == MOST_ATTEMPTS:
                raise
    raise AssertionError  # the loop returns or raises


def _lock_rows(kind: str, ids: list[int]) -> Bound:
    return sql.lock_payments(ids=ids) if kind == "payment" else sql.lock_subjects(kind=kind, ids=ids)


def _differences(kind: str, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> Iterator[Difference]:
    was = {row["id"]: row["row"] for row in before}
    for row in sorted(after, key=lambda row: int(row["id"])):
        old = was.get(row["id"], {})
        for column, value in row["row"].items():
            if old.get(column) != value:
                yield Difference(kind, row["id"], column, old.get(column), value)
