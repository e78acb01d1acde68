"""What is known of a person by their e-mail address: shown as a whole, and erased."""

from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.database.sql import load_statements
from gatehouse.errors import NotFound, TransactionConflict
from gatehouse.models.customers import checked_email
from gatehouse.models.scope import MOST_ATTEMPTS, Store, flush_for

sql = load_statements(Path(__file__).with_name("privacy.sql"))


class Retained(NamedTuple):
    """A customer whose personal data may go by now."""

    merchant: str
    customer_id: int
    email: str


def export_customer(store: Store, merchant: str, email: str) -> dict[str, Any]:
    """Return everything that is known of a person, ready for JSON; raise NotFound where that is nothing."""
    address = checked_email(email)
    rows, memberships = flush_for(
        store, merchant, sql.export_customer(email=address), sql.memberships_of_person(email=address)
    )
    known: dict[str, Any] = rows[0]["known"] | {"memberships": memberships[0]["known"]}
    if not any(known.values()):
        raise NotFound("nothing is known of this e-mail address")
    return known


def erase_customer(
    database: Database, merchant: str, email: str, *, dry_run: bool = False, actor: str = ""
) -> dict[str, int]:
    """Erase a person and return how many rows of each table were changed; a dry run only says, and undoes it all.

    Money and the audit stay. Safe to repeat, also for an address that is not known: then it only stays unknown.
    """
    address = checked_email(email)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        try:
            with database.transaction() as transaction:
                answers, rows = flush_for(
                    transaction,
                    merchant,
                    sql.erase_gateway_answers(email=address),  # first: afterwards nothing leads to them
                    sql.erase_customer(email=address),
                    actor=actor,
                )
                if dry_run:
                    transaction.undo()
            done: dict[str, int] = rows[0]["done"]
            return done | {"gateway_answers": answers[0]["erased"]}
        except TransactionConflict:  # with an event of the same person that was being recorded
            if attempt == MOST_ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def customers_past_retention(database: Database, day: date) -> list[Retained]:
    """Return the customers of all merchants who were to be retained until a day before this one."""
    return [Retained(**row) for row in database.query(sql.customers_past_retention, day=day)]
