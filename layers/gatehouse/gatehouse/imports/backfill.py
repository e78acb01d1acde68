"""Imports what a gateway lists of a span of days: the list's facts at once, and a job for the details of what is new.

The place of such an import is the page that it has come to. Lists are newest first: what comes meanwhile moves things
to later pages, so one that goes on may see a payment twice, and misses none.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple, Protocol

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.database.sql import Bound, Json
from gatehouse.errors import Conflict
from gatehouse.facts import CustomerFact, Fact, PaymentFact, RefundFact
from gatehouse.imports.payment_rows import HASH_CHARACTERS, Said
from gatehouse.imports.payments import Entry, Import, begin_again, begin_import, known_names, record_batch, sql


class Page(Protocol):
    """One page of a gateway's list."""

    @property
    def facts(self) -> Sequence[tuple[Fact, ...]]:
        """Return what each thing of the page says."""
        ...

    @property
    def answered_at(self) -> datetime:
        """Return when the page was answered."""
        ...

    @property
    def total(self) -> int | None:
        """Return how many things there are on all pages, where that is said."""
        ...


class PagingClient(Protocol):
    """The part of a client that lists in pages."""

    def pages_of_payments(
        self, since: datetime | None = None, until: datetime | None = None, *, first_page: int = 0
    ) -> Iterator[Page]:
        """List what was made in a span of time, a page at a time."""
        ...


class Step(NamedTuple):
    """What one page came to."""

    page: int
    listed: int
    recorded: int  # whose facts were new
    asked: int  # whose details are asked for
    refused: int
    total: int | None


def find_or_begin(
    database: Database, account: GatewayAccount, since: datetime, until: datetime, *, again: bool = False
) -> Import:
    """Return the import of a span of days, new or to be gone on with; raise Conflict where it is through."""
    source = f"listed {since:%Y-%m-%d} to {until:%Y-%m-%d}"
    running = begin_import(
        database, account, source=source, content_hash=sha256(f"{account.account} {source}".encode()).hexdigest()
    )
    if running.finished_at is None:
        return running
    if not again:
        raise Conflict(
            f"these days were imported at {running.finished_at:%Y-%m-%d %H:%M} already; --again goes through them"
        )
    begin_again(database, running.id)
    return running._replace(place=0, rows_read=0, rows_recorded=0, rows_refused=0, finished_at=None)


def import_listed(
    database: Database,
    account: GatewayAccount,
    client: PagingClient,
    running: Import,
    since: datetime,
    until: datetime,
) -> Iterator[Step]:
    """Import page by page and yield after each, which is then recorded for good, with the jobs for its details."""
    number = running.place
    for page in client.pages_of_payments(since, until, first_page=number):
        entries = [_entry(number, facts, page.answered_at) for facts in page.facts if facts]
        known = known_names(database, account, entries)
        new = [entry for entry in entries if entry.said.fact.objects[0] not in known]
        done = record_batch(
            database,
            running,
            account,
            entries,
            place=number,
            end=number + 1,
            read=len(page.facts),
            refused=len(page.facts) - len(entries),
            beside=[_ask_for_details(account, running, new)] if new else [],
        )
        refused = len(page.facts) - len(entries) + len(done.refused)
        yield Step(number, len(page.facts), done.recorded, len(new), refused, page.total)
        number += 1
    record_batch(database, running, account, [], place=number, end=number, read=0, refused=0, is_end=True)


def try_listed(
    database: Database, account: GatewayAccount, client: PagingClient, since: datetime, until: datetime
) -> Iterator[Step]:
    """List what an import would bring, and write nothing."""
    for number, page in enumerate(client.pages_of_payments(since, until)):
        entries = [_entry(number, facts, page.answered_at) for facts in page.facts if facts]
        known = known_names(database, account, entries)
        new = sum(entry.said.fact.objects[0] not in known for entry in entries)
        yield Step(number, len(page.facts), new, new, len(page.facts) - len(entries), page.total)


def _entry(page: int, facts: tuple[Fact, ...], answered_at: datetime) -> Entry:
    """Return a listed thing as a row of the import; the same words in a later list are not said twice."""
    main = facts[0]
    if not isinstance(main, (PaymentFact, RefundFact)):
        raise TypeError(f"a list of payments holds a {type(main).__name__}")
    customer = next((fact for fact in facts if isinstance(fact, CustomerFact)), None)
    said_by = f"import {sha256(repr(facts).encode()).hexdigest()[:HASH_CHARACTERS]}"
    return Entry(page, page, Said(said_by, answered_at, main, customer))


def _ask_for_details(account: GatewayAccount, running: Import, entries: Sequence[Entry]) -> Bound:
    names = [entry.said.fact.objects[0] for entry in entries]
    missing: list[dict[str, Any]] = [
        {
            "key": "/".join((account.gateway, account.account, *name, f"import {running.id}")),
            "arguments": {
                "gateway": account.gateway,
                "account": account.account,
                "kind": name.kind,
                "id": name.id,
                "livemode": account.livemode_of(None),
            },
        }
        for name in names
    ]
    return sql.ask_for(merchant=account.merchant, missing=Json(missing))
