"""`gatehouse keys`: the keys of those who call the API, and the data keys that seal credentials and payloads."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cli import output
from cli.stored import actor
from cli.target import keyring, ops_database
from gatehouse.errors import ForeignKeyViolation, SettingError, TransactionConflict
from gatehouse.models import accounts, api_keys
from gatehouse.tenants import records

MOST_DAYS = 3650

app = typer.Typer(
    help="""Make, list and revoke keys to the API; see and rotate the data keys.

An API key is shown once, when it is made: `gatehouse keys create`. Whoever has it may see one merchant's rows (and with
`--all-merchants` those of every merchant): a viewer reads, a developer, an admin and ops also write.

To rotate the data keys: add a new key to their secret and name it `current`, wait five minutes until every function
has it, then run `gatehouse keys rotate-master`. An old key may leave the secret when `gatehouse keys list-master`
shows that nothing is sealed with it any more: accounts and tenants at once, payloads once retention dropped them.""",
    no_args_is_help=True,
)


def _role(role: str) -> str:
    if role not in api_keys.ROLES:
        raise typer.BadParameter(f"must be one of {', '.join(api_keys.ROLES)}")
    return role


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what uses it, such as `bookkeeping`.")],
    merchant: Annotated[str, typer.Option("--merchant", help="Whose rows it may see.")] = "",
    all_merchants: Annotated[
        bool, typer.Option("--all-merchants", help="Those of every merchant; only for the role ops.")
    ] = False,
    role: Annotated[
        str, typer.Option("--role", callback=_role, help=f"What it may do: {', '.join(api_keys.ROLES)}.")
    ] = "viewer",
    rate: Annotated[
        int, typer.Option("--rate", min=1, max=60_000, help="Requests a minute.")
    ] = api_keys.DEFAULT_RATE_PER_MINUTE,
    user: Annotated[
        str, typer.Option("--user", help="Whose it is: he keeps his roles on tenants when it is replaced.")
    ] = "",
    days: Annotated[
        int, typer.Option("--days", min=0, max=MOST_DAYS, help="After how many days it ends; 0 for never.")
    ] = 365,
    health_data: Annotated[
        bool,
        typer.Option("--health-data/--no-health-data", help="Whether it may see products, memberships and patients."),
    ] = True,
) -> None:
    """Make a key to the API and show it; it is never shown again."""
    if bool(merchant) == all_merchants:
        raise SettingError("say whose rows it may see: --merchant NAME, or --all-merchants")
    if all_merchants and role != "ops":
        raise SettingError("a key for all merchants has the role ops")
    key = api_keys.new_key()
    try:
        row = api_keys.add_key(
            ops_database(),
            key,
            merchant=merchant or None,
            role=role,
            name=name,
            rate_per_minute=rate,
            expires_at=datetime.now(UTC) + timedelta(days=days) if days else None,
            may_read_health_data=health_data,
            user_id=user or None,
            actor=actor(),
        )
    except ForeignKeyViolation:
        raise SettingError(f"there is no merchant {merchant}: `gatehouse merchants list` shows them") from None
    output.say(f"made {row['id']} ({role}, {row['merchant'] or 'every merchant'}), {_until(row['expires_at'])}")
    output.say(key)


@app.command("list")
def list_() -> None:
    """List the keys to the API: what each may do and when it was last used, to an hour."""
    output.show_table(
        ("Key", "Name", "Merchant", "Role", "Health data", "A minute", "Made by", "Last used", "State"),
        (
            (
                row["id"],
                row["name"],
                row["merchant"] or "(every)",
                row["role"],
                "yes" if row["may_read_health_data"] else "no",
                row["rate_per_minute"],
                row["created_by"],
                _day(row["last_used_at"]),
                f"revoked {_day(row['revoked_at'])}" if row["revoked_at"] else _until(row["expires_at"]),
            )
            for row in api_keys.list_keys(ops_database())
        ),
        right=("A minute",),
    )


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="Its id: the eight characters after gh_.")]) -> None:
    """End a key to the API for ever, from its next request on."""
    row = api_keys.revoke_key(ops_database(), key_id, actor=actor())
    output.say(f"{row['id']} ({row['name']}) opens nothing any more")


def _until(moment: datetime | None) -> str:
    if moment is None:
        return "never ends"
    return f"{'until' if moment > datetime.now(UTC) else 'ended'} {_day(moment)}"


def _day(moment: datetime | None) -> str | None:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else None


@app.command("list-master")
def list_master() -> None:
    """List the data keys and what each still seals."""
    current = keyring().current
    rows = {row["key_id"]: row for row in accounts.keys_in_use(ops_database())}
    output.show_table(
        ("Key", "", "Accounts", "Payloads", "Tenants"),
        (
            (
                key_id,
                "current" if key_id == current else "",
                rows[key_id]["accounts"] if key_id in rows else 0,
                rows[key_id]["payloads"] if key_id in rows else 0,
                rows[key_id]["tenants"] if key_id in rows else 0,
            )
            for key_id in sorted({*rows, current})
        ),
        right=("Accounts", "Payloads", "Tenants"),
    )


@app.command("rotate-master")
def rotate_master() -> None:
    """Seal all credentials anew, those of tenants too, with the current data key. Safe to repeat and to interrupt."""
    database, keys = ops_database(), keyring()
    behind = [kept for kept in accounts.list_accounts(database, keys) if kept.row["key_id"] != keys.current]
    moved = 0
    for kept in behind:
        try:
            accounts.replace_credentials(
                database, keys, kept, kept.credentials, actor=actor(), deed=f"sealed anew with {keys.current}"
            )
            moved += 1
        except TransactionConflict:
            # Somebody changed the account just now, and so sealed it with the key that is current there.
            output.say(f"{kept.row['gateway']}/{kept.row['account']} was changed meanwhile; run this again")
        if moved % 100 == 0 and moved:
            output.say(f"{moved} of {len(behind)}")
    if resealed := records.reseal(database, keys):
        output.say(f"{resealed} tenants and branches sealed anew with {keys.current}")
    output.say(f"{moved} accounts sealed anew with {keys.current}" if behind else f"all are sealed with {keys.current}")
