"""`gatehouse apps`: to which of a merchant's apps money belongs, what each app's users have, and how it is told."""

import json
from typing import Annotated, Any

import typer

from cli import output
from cli.progress import followed
from cli.stored import actor, moment
from cli.target import keyring, ops_database
from gatehouse.database.connection import Database
from gatehouse.errors import SettingError
from gatehouse.forwarding import app_rows
from gatehouse.intake.refold import Chosen, last_ids, refold_many, wait_for_recordings
from gatehouse.models import apps, forwards
from gatehouse.money import EXPONENTS, written
from gatehouse.settings import settings

app = typer.Typer(
    help="The apps of merchants: their users, and where they are told of events.",
    no_args_is_help=True,
)


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
        database,
        name,
        merchant=merchant,
        plans=tuple(plans or ()),
        is_default=is_default,
        instead_of=instead_of,
        actor=actor(),
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


TAKES = ("every_app", "gateways", "types", "least_minor", "most_minor", "currencies")


@app.command("set")
def set_(
    name: AppArgument,
    merchant: MerchantOption = apps.DEFAULT_MERCHANT,
    url: Annotated[str | None, typer.Option("--url", help="Where it is told of its events, by https.")] = None,
    takes: Annotated[
        str | None,
        typer.Option(
            "--takes",
            help='Which events, as JSON: {"types": ["charge.*"], "gateways": ["paystack"], "currencies": ["NGN"],'
            ' "least_minor": 100, "most_minor": 90000, "every_app": true}; {} for all of its own.',
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", help="`name: value` to send along; give all, as they replace those before."),
    ] = None,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Send none of its own any more.")] = False,
    router_source: Annotated[str | None, typer.Option("--source", help="What x-router-source says.")] = None,
    attempts: Annotated[int | None, typer.Option("--attempts", min=1, max=5, help="In one delivery.")] = None,
    timeout: Annotated[
        int | None, typer.Option("--timeout", min=100, max=10_000, help="Milliseconds for an attempt.")
    ] = None,
    wait: Annotated[
        list[int] | None, typer.Option("--wait", min=0, max=2000, help="Milliseconds between attempts; repeated.")
    ] = None,
    rate: Annotated[float | None, typer.Option("--rate", min=0, help="Deliveries a second; 0 for no limit.")] = None,
    burst: Annotated[int | None, typer.Option("--burst", min=1, help="With --rate: as many at once.")] = None,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Source, attempts, timeout and waits as the settings have them.")
    ] = False,
    health_data: Annotated[
        bool | None, typer.Option("--health-data/--no-health-data", help="Whether it may get events with health data.")
    ] = None,
) -> None:
    """Say how an app is told of its events. The secret of one that had none is shown once."""
    given: dict[str, Any] = {
        "target_url": url,
        "takes": None if takes is None else _takes(takes),
        "router_source": router_source,
        "attempts": attempts,
        "attempt_milliseconds": timeout,
        "waits_milliseconds": wait or None,
        "rate_per_second": rate,
        "burst": burst,
        "takes_health_data": health_data,
    }
    changes = {column: value for column, value in given.items() if value is not None}
    if rate == 0:
        changes["rate_per_second"] = None
    if defaults:
        changes |= dict.fromkeys(("router_source", "attempts", "attempt_milliseconds", "waits_milliseconds"))
    headers = {} if no_headers else None if header is None else dict(map(_header, header))
    database, keys = ops_database(), keyring()
    secret = app_rows.set_up(
        database,
        keys,
        merchant,
        name,
        changes,
        headers=headers,
        allowed_local=settings().allowed_local,
        actor=actor(),
    )
    output.say(f"{name} of {merchant} is set")
    if secret:
        output.say(f"secret, shown this once: {secret}")


@app.command()
def targets() -> None:
    """List where each app is told of its events, and how it answers."""
    output.show_table(
        ("Merchant", "App", "URL", "Takes", "Rate", "State"),
        (
            (
                row["merchant"],
                row["name"],
                (row["url"] or "").partition("?")[0] or None,
                json.dumps(row["takes"]) if row["takes"] else "its own",
                row["rate_per_second"],
                _state(row),
            )
            for row in forwards.list_targets(ops_database())
        ),
    )


@app.command()
def pause(
    name: AppArgument,
    merchant: MerchantOption = apps.DEFAULT_MERCHANT,
    because: Annotated[str, typer.Option("--because", help="Why, for those who look later.")] = "by hand",
) -> None:
    """Tell an app nothing for a while; its events wait."""
    app_rows.pause(ops_database(), merchant, name, because, actor=actor())
    output.say(f"{name} of {merchant} is paused; its events wait")


@app.command()
def resume(name: AppArgument, merchant: MerchantOption = apps.DEFAULT_MERCHANT) -> None:
    """Tell an app again, also what has waited."""
    woken = app_rows.resume(ops_database(), merchant, name, actor=actor())
    output.say(f"{name} of {merchant} is told again; {woken} events have waited and go within a minute")


@app.command("rotate-secret")
def rotate_secret(
    name: AppArgument,
    merchant: MerchantOption = apps.DEFAULT_MERCHANT,
    drop_old: Annotated[bool, typer.Option("--drop-old", help="End the overlap: only the new one signs.")] = False,
) -> None:
    """Make a new signing secret, shown once; the old one signs as well until `--drop-old`."""
    secret = app_rows.rotate_secret(ops_database(), keyring(), merchant, name, drop_old=drop_old, actor=actor())
    if drop_old:
        output.say(f"only the newest secret of {name} signs from now on")
    else:
        output.say(f"secret, shown this once: {secret}")
        output.say("the old one signs as well, until `gatehouse apps rotate-secret --drop-old`")


@app.command()
def remove(name: AppArgument, merchant: MerchantOption = apps.DEFAULT_MERCHANT) -> None:
    """Take an app's address away: it is told nothing any more. The app, its users and the log stay."""
    database = ops_database()
    app_rows.set_up(database, keyring(), merchant, name, {"target_url": None}, actor=actor())
    output.say(f"{name} of {merchant} has no address any more; what waits for it will be given up")
    if app_rows.find_app(database, merchant, name)["environment_url"]:
        output.say("but the settings still name one: empty ELEVENONE_WEBHOOK_URL as well")


def _takes(said: str) -> dict[str, Any]:
    try:
        found = json.loads(said)
    except ValueError:
        raise SettingError("--takes is no JSON") from None
    if not isinstance(found, dict) or found.keys() - set(TAKES):
        raise SettingError(f"--takes is an object of {', '.join(TAKES)}")
    for key in ("gateways", "types", "currencies"):
        value = found.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise SettingError(f"--takes: {key} is a list of texts")
    for key in ("least_minor", "most_minor"):
        if key in found and type(found[key]) is not int:
            raise SettingError(f"--takes: {key} is a whole number of minor units")
    if type(found.get("every_app", True)) is not bool:
        raise SettingError("--takes: every_app is true or false")
    return found


def _header(said: str) -> tuple[str, str]:
    name, colon, value = said.partition(":")
    if not colon:
        raise SettingError("--header is `name: value`")
    return name.strip(), value.strip()


def _state(row: dict[str, Any]) -> str:
    if row["url"] is None:
        return "not told"
    if row["is_paused"]:
        return f"paused: {row['paused_because']}"
    if row["circuit_state"] != "closed":
        return f"does not answer; tried again at {moment(row['circuit_probe_at'])}"
    return "told, by the settings" if row["is_from_settings"] else "told"


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
