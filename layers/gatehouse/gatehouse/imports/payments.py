"""Imports payments in batches: each is one transaction with the place that it leads to, so a killed import goes on."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.database.sql import Bound, Json, load_statements
from gatehouse.errors import Conflict, FactRefused, QueryError, TransactionConflict
from gatehouse.facts import CustomerFact, ObjectName, PaymentFact
from gatehouse.imports.payment_rows import Said
from gatehouse.intake.record import MOST_ATTEMPTS, NAMES_LEAD_TO_SEVERAL_ROWS, recording_locks
from gatehouse.intake.tell import ToldFacts, told_facts

sql = load_statements(Path(__file__).with_name("imports.sql"))

ROWS_A_BATCH = 200  # one flush, so a server that records only 50 rows a second still answers within its 5 seconds
GONE_ON_ELSEWHERE = "GH003"

Row = dict[str, Any]


class Import(NamedTuple):
    """An import, and how far it has come."""

    id: int
    job_id: int
    place: int
    rows_read: int
    rows_recorded: int
    rows_refused: int
    started_at: datetime
    finished_at: datetime | None


class Entry(NamedTuple):
    """One row of an import that could be read, and the place behind it."""

    line: int
    end: int
    said: Said


class Refused(NamedTuple):
    """One row that was not imported, and why."""

    line: int
    field: str
    reason: str


class BatchDone(NamedTuple):
    """What became of a batch."""

    recorded: int  # rows whose facts were new
    refused: list[Refused]  # by the database


def begin_import(database: Database, account: GatewayAccount, *, source: str, content_hash: str) -> Import:
    """Begin an import, or find the one of the same content to go on with."""
    where = {"gateway": account.gateway, "account": account.account, "content_hash": content_hash}
    begin = sql.begin_import(merchant=account.merchant, source=source, **where)
    found = database.flush([begin, sql.find_import(**where)])[-1].rows
    return Import(**found[0])


def find_import(database: Database, account: GatewayAccount, content_hash: str) -> Import | None:
    """Return the import of some content, or None where there was none."""
    where = {"gateway": account.gateway, "account": account.account, "content_hash": content_hash}
    rows = database.query(sql.find_import, **where)
    return Import(**rows[0]) if rows else None


def begin_again(database: Database, import_id: int) -> None:
    """Let an import that is through be gone through once more."""
    database.query_one(sql.begin_again, id=import_id)


def list_imports(database: Database, merchant: str | None, *, most: int) -> list[Row]:
    """Return the newest imports, of one merchant or all."""
    return database.query(sql.list_imports, merchant=merchant, most=most)


def known_names(database: Database, account: GatewayAccount, entries: Sequence[Entry]) -> set[ObjectName]:
    """Return which of the rows' payments and refunds are there already."""
    names = {entry.said.fact.objects[0] for entry in entries}
    rows = database.query(
        sql.names_known,
        gateway=account.gateway,
        account=account.account,
        names=Json([{"kind": name.kind, "id": name.id} for name in sorted(names)]),
    )
    return {ObjectName(row["kind"], row["id"]) for row in rows}


def record_batch(
    database: Database,
    running: Import,
    account: GatewayAccount,
    entries: Sequence[Entry],
    *,
    place: int,
    end: int,
    read: int,
    refused: int,
    is_end: bool = False,
    beside: Sequence[Bound] = (),
) -> BatchDone:
    """Record the rows between two places; one that the database refuses is told, and costs no other.

    `read` and `refused` count all rows between the places, those that could not be read among them. `beside` is
    written in the same transaction as the last of them.
    """
    try:
        recorded = _recorded(database, running, account, entries, (place, end, read, refused, is_end), beside)
        return BatchDone(recorded, [])
    except (QueryError, FactRefused) as refusal:
        if isinstance(refusal, Conflict) or getattr(refusal, "sqlstate", None) == GONE_ON_ELSEWHERE:
            raise
        if not entries:
            raise
        if len(entries) == 1:
            why = Refused(entries[0].line, "the row", f"{refusal.code}: {refusal}"[:300])
            _recorded(database, running, account, [], (place, end, read, refused + 1, is_end), beside)
            return BatchDone(0, [why])
    middle = len(entries) // 2
    border = entries[middle - 1].end
    first = record_batch(database, running, account, entries[:middle], place=place, end=border, read=middle, refused=0)
    second = record_batch(
        database,
        running,
        account,
        entries[middle:],
        place=border,
        end=end,
        read=read - middle,
        refused=refused,
        is_end=is_end,
        beside=beside,
    )
    return BatchDone(first.recorded + second.recorded, [*first.refused, *second.refused])


def _recorded(
    database: Database,
    running: Import,
    account: GatewayAccount,
    entries: Sequence[Entry],
    places: tuple[int, int, int, int, bool],
    beside: Sequence[Bound],
) -> int:
    payments, others, names = _told(account, entries)
    joining = False
    for _attempt in range(MOST_ATTEMPTS):
        statements = _statements(running, account, payments, others, names, joining=joining)
        place, end, read, refused, is_end = places
        go_on = sql.go_on(
            id=running.id,
            place=place,
            next_place=end,
            read=read,
            recorded=len(entries),
            refused=refused,
            is_end=is_end,
        )
        try:
            results = database.flush([*statements, *beside, go_on])
            return sum(result.rows[0]["new"] for result in results if result.rows and "new" in result.rows[0])
        except TransactionConflict:
            continue
        except QueryError as refusal:
            if refusal.sqlstate != NAMES_LEAD_TO_SEVERAL_ROWS or joining:
                raise
            joining = True
    raise TransactionConflict(f"a batch could not be recorded in {MOST_ATTEMPTS} attempts")


def _statements(
    running: Import,
    account: GatewayAccount,
    payments: list[Row],
    others: list[Row],
    names: tuple[str, ...],
    *,
    joining: bool,
) -> list[Bound]:
    where = {"merchant": account.merchant, "gateway": account.gateway, "account": account.account}
    statements = [recording_locks(account, names, alone=joining)]
    if payments:
        statements.append(sql.import_payments(**where, facts=Json(payments), job_id=running.job_id))
    if others:
        statements.append(sql.import_others(**where, rows=Json(others), job_id=running.job_id, joining=joining))
    return statements


def _told(account: GatewayAccount, entries: Sequence[Entry]) -> tuple[list[Row], list[Row], tuple[str, ...]]:
    """Return the rows of the payments, those of all else, and every name that they speak of."""
    livemode = account.livemode_of(None)
    payments: list[Row] = []
    others: list[Row] = []
    names: set[str] = set()
    customers: dict[str, tuple[Said, CustomerFact]] = {}
    for entry in entries:
        said = entry.said
        told = told_facts(account, (said.fact,), livemode=livemode)
        names.update(told.names)
        mark = {"said_by": said.said_by, "occurred_at": said.occurred_at.isoformat()}
        if isinstance(said.fact, PaymentFact):
            [fact] = told.facts["payments"]
            payments.append({**mark, **fact["objects"][0], "rank": fact["rank"], "words": fact["words"]})
        else:
            others.append(_other(told, mark))
        if said.customer:
            # Of several names for one customer the newest in the batch is said.
            code = said.customer.objects[0].id
            if code not in customers or customers[code][0].occurred_at <= said.occurred_at:
                customers[code] = (said, said.customer)
    for said, customer in customers.values():
        told = told_facts(account, (customer,), livemode=livemode)
        names.update(told.names)
        others.append(_other(told, {"said_by": said.said_by, "occurred_at": said.occurred_at.isoformat()}))
    return payments, others, tuple(names)


def _other(told: ToldFacts, mark: Row) -> Row:
    fact = told.facts["others"][-1]
    return {**mark, "kind": fact["kind"], "id": fact["objects"][0]["id"], "facts": told.facts}
