"""`gatehouse apps`: to which of a merchant's apps money belongs, and what each app's users have."""

from typing import Annotated

import typer

from cli import output
from cli.progress import followed
from cli.target import ops_database
from gatehouse.database.connection import Database
from gatehouse.intake.refold import Chosen, last_ids, refold_many, wait_for_recordings
from gatehouse.models import apps
from gatehouse.money import EXPONENTS, written

app = typer.Typer(help="Add and list the apps of merchants, and show their users.", no_args_is_help=True)


def _name(name: str) -> str:
    if not apps.APP.fullmatch(name):
        raise typer.BadParameter(
            "must be 1 to 40 lower-case letters (a to z), digits, dashes or underscores, the first one a letter"
            " or digit"
        )
    return name


AppArgument = Annotated[str, typer.Argument(callback=_name, metavar="NAME", help="As events say it in metadata.app.")]
MerchantOption = Annotated[str, typer.Option("--merchant", help="Whose app it is.")]


@app.command()
def add(
    name: AppArgument,
    merchant: MerchantOption = apps.DEFAULT_MERCHANT,
    plans: Annotated[
        list[str] | None, typer.Option("--plan", help="A gateway's id of a plan that belongs to it; may be repeated.")
    ] = None,
    is_default: Annotated[
        bool, typer.Option("--default", help="The merchant's money belongs to it where nothing says otherwise.")
    ] = False,
    instead_of: Annotated[
        str | None, typer.Option("--instead-of", help="With --default: the app that is the default until now.")
    ] = None,
) -> None:
    """Add an app and its view, or give plans or the default to one that is there. Safe to repeat."""
    if instead_of and not is_default:
        raise typer.BadParameter("goes with --default", param_hint="--instead-of")
    database = ops_database()
    added = apps.add_app(
        database, name, merchant=merchant, plans=tuple(plans or ()), is_default=is_default, instead_of=instead_of
    )
    default = ", the default" if added["is_default"] else ""
    of_plans = f", plans {', '.join(added['plans'])}" if added["plans"] else ""
    output.say(f"{name} of {merchant}{default}{of_plans}; view {added['view_name']}")
    if plans or is_default:
        _route_anew(database, merchant, tuple(added["plans"]))


@app.command("list")
def list_() -> None:
    """List all apps, also those that events name and nobody has added."""
    output.show_table(
        ("Merchant", "App", "Default", "Plans", "Users", "Transactions in 30 days"),
        (
            (
                row["merchant"],
                row["name"],
                "yes" if row["is_default"] else "" if row["is_added"] else "not added: only events name it",
                ", ".join(row["plans"]),
                row["users"],
                row["transactions"],
            )
            for row in apps.list_apps(ops_database())
        ),
        right=("Users", "Transactions in 30 days"),
    )


@app.command()
def show(
    name: AppArgument,
    merchant: MerchantOption = apps.DEFAULT_MERCHANT,
    after: Annotated[str | None, typer.Option("--after", help="Only users behind this one: the next page.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")] = 50,
) -> None:
    """Show an app's users with their plan and status of now. Times are UTC."""
    users = apps.users_of(ops_database(), merchant, name, after=after, most=limit)
    if not users:
        output.say("no more users" if after else "no user yet")
        return
    output.show_table(
        ("User", "Plan", "Status", "Amount", "Since", "By"),
        (
            (
                row["user_id"],
                row["plan"],
                f"{row['status']}{'' if row['livemode'] else ' (test)'}",
                written(row["amount_minor"], row["currency"])
                if row["amount_minor"] is not None and row["currency"] in EXPONENTS
                else None,
                f"{row['since']:%Y-%m-%d %H:%M:%S}",
                f"{row['said_by']} {row['object_id']} of {row['gateway']}/{row['account']}",
            )
            for row in users
        ),
    )
    if len(users) == limit:
        output.say(f"more: --after {users[-1]['user_id']}")


def _route_anew(database: Database, merchant: str, plans: tuple[str, ...]) -> None:
    """Find the app of the rows that are there; what is recorded from now on finds it by itself."""
    wait_for_recordings(database, apps.accounts_of(database, merchant))
    chosen = Chosen(kinds=("subscription", "payment"), merchant=merchant, plans=plans)
    rows, moved = 0, set[tuple[str, int]]()
    steps = followed(refold_many(database, chosen), last_ids(database), go_on="Give the same command again")
    for batch in steps:
        rows += batch.rows
        moved |= {(each.kind, each.id) for each in batch.differences if each.column == "app"}
    output.say(f"{len(moved)} of {rows} payments and subscriptions changed their app")
