"""`gatehouse audit`: who changed merchants, accounts, keys and apps, and who let what be done again."""

import json
from typing import Annotated, Any

import typer

from cli import output
from cli.stored import JsonOption, as_json, moment
from cli.target import ops_database
from gatehouse.models.admin_changes import list_changes


def audit(
    merchant: Annotated[str | None, typer.Option("--merchant", help="Only what was changed of one merchant.")] = None,
    before: Annotated[
        int | None, typer.Option("--before", min=1, help="Older than this change: the next page.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")] = 50,
    as_lines: JsonOption = False,
) -> None:
    """List changes of merchants, accounts, keys and apps, the newest first: who, when, what. Times are UTC.

    What became of payments, orders, people and memberships stands in their own histories, and of tenants in theirs.
    """
    rows = list_changes(ops_database(), merchant=merchant, before=before, most=limit)
    if as_lines:
        for row in rows:
            output.say(as_json(row))
        return
    output.show_table(
        ("Number", "When", "Who", "Merchant", "What", "Of", "Changes"),
        (
            (row.id, moment(row.at), row.actor, row.merchant, row.what, row.subject, _changes(row.details))
            for row in rows
        ),
        right=("Number",),
    )
    if len(rows) == limit:
        output.say(f"more: --before {rows[-1].id}")


def _changes(details: dict[str, Any]) -> str:
    return "; ".join(f"{name}: {_change(value)}" for name, value in details.items())


def _change(value: Any) -> str:
    match value:
        case [before, after]:
            return f"{_text(before)} -> {_text(after)}"
        case _:
            return _text(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
