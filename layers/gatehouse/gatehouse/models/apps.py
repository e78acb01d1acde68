"""Apps of merchants: added, listed, and their users with what they have now."""

import re
from pathlib import Path
from typing import Any

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.database.sql import load_statements
from gatehouse.errors import DatabaseError, DuplicateEntry, NotFound
from gatehouse.gateways import NAMES
from gatehouse.intake.accounts import DEFAULT_ACCOUNT
from gatehouse.models.admin_changes import written_by

sql = load_statements(Path(__file__).with_name("apps.sql"))

Row = dict[str, Any]
APP = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")  # as the table asks
DEFAULT_MERCHANT = "default"
MOST_COUNTED = 100  # of the users and events of each app of a list
NAME_IS_TAKEN = "42P07"  # raised by make_app_view: something else has the view's name


def add_app(
    database: Database,
    name: str,
    *,
    merchant: str,
    plans: tuple[str, ...] = (),
    is_default: bool = False,
    instead_of: str | None = None,
    actor: str = "",
) -> Row:
    """Add an app with its view, or give more to one that is there; raise where another app stands in the way."""
    with database.transaction() as transaction:
        if not transaction.query(sql.lock_merchant, merchant=merchant):
            raise NotFound(f"there is no merchant {merchant}")
        others = [app for app in transaction.query(sql.apps_of, merchant=merchant) if app["name"] != name]
        _require_free_plans(others, plans)
        default = next((app["name"] for app in others if app["is_default"]), None)
        if is_default and default:
            if default != instead_of:
                raise DuplicateEntry(f"{default} is the default of {merchant} already; say --instead-of {default}")
            written_by(transaction, actor, sql.give_up_default(merchant=merchant, name=default))
        put = sql.put_app(merchant=merchant, name=name, plans=sorted(set(plans)), is_default=is_default)
        added = written_by(transaction, actor, put)[0]
        try:
            view = transaction.query_one(sql.make_app_view, name=name)["view_name"]
        except DatabaseError as error:
            if error.sqlstate != NAME_IS_TAKEN:
                raise
            raise DuplicateEntry(str(error).split(": ", 1)[-1]) from None
    return added | {"view_name": view}


def list_apps(database: Database) -> list[Row]:
    """Return all apps, also those that events name and nobody added, with users and transactions of 30 days."""
    return database.query(sql.list_apps)


def look_for_apps(
    database: Database,
    *,
    text: str | None = None,
    after: tuple[str, str] | None = None,
    counted: int = MOST_COUNTED,
    most: int = 50,
) -> list[Row]:
    """Return a page of apps by merchant and name, with their users and the events of 30 days, counted up to a bound."""
    after_merchant, after_name = after or (None, None)
    return database.query(
        sql.look_for_apps, text=text, after_merchant=after_merchant, after_name=after_name, counted=counted, most=most
    )


def users_of(database: Database, merchant: str, name: str, *, after: str | None = None, most: int = 50) -> list[Row]:
    """Return a page of an app's users; raise NotFound when neither the app nor a user of it is known."""
    apps, users = database.flush(
        [sql.apps_of(merchant=merchant), sql.users_of(merchant=merchant, name=name, after=after, most=most)]
    )
    if not users.rows and all(app["name"] != name for app in apps.rows):
        raise NotFound(f"{merchant} has no app {name}")
    return users.rows


def accounts_of(database: Database, merchant: str) -> list[GatewayAccount]:
    """Return every account whose events may be a merchant's."""
    rows = database.query(sql.accounts_of, merchant=merchant)
    found = {(row["gateway"], row["account"]) for row in rows}
    if merchant == DEFAULT_MERCHANT:  # the default accounts are in secrets, not in the database
        found |= {(gateway, DEFAULT_ACCOUNT) for gateway in NAMES}
    return [GatewayAccount(gateway, account, merchant, "both") for gateway, account in sorted(found)]


def _require_free_plans(others: list[Row], plans: tuple[str, ...]) -> None:
    for app in others:
        if taken := sorted(set(plans) & set(app["plans"])):
            raise DuplicateEntry(f"{app['name']} has {', '.join(taken)} already; a plan belongs to one app")
