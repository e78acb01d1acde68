"""`gatehouse gateways`: the merchants' accounts at the gateways and their secrets, which are never shown again."""

import json
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from cli import output
from cli.credentials import asked_for
from cli.gateway_names import GatewayArgument, GatewayOption
from cli.stored import actor
from cli.target import keyring, ops_database
from gatehouse.accounts import DEVELOPMENT_STAGES, MODES, fingerprint
from gatehouse.database.connection import Database
from gatehouse.enrichment.troubles import list_troubles
from gatehouse.errors import Conflict, ServiceUnavailable, SettingError
from gatehouse.gateways import gateway_named
from gatehouse.gateways.credentials import as_kept, held, webhook_path
from gatehouse.intake.accounts import DEFAULT_ACCOUNT
from gatehouse.models import accounts
from gatehouse.models.accounts import KeptAccount
from gatehouse.settings import settings
from local import send

LOOKED_BACK = timedelta(days=30)

app = typer.Typer(
    help="""Add and look after accounts at the gateways.

Secrets are asked for, or read from a JSON file or stdin (--credentials FILE or -), never from the command line. The
account `default` of each gateway is not here: it lives in Secrets Manager, so that it works with no database.""",
    no_args_is_help=True,
)


def _account(name: str) -> str:
    if name == DEFAULT_ACCOUNT:
        raise typer.BadParameter("the default account lives in Secrets Manager: change its secret there")
    return _any_account(name)


def _any_account(name: str) -> str:
    if not accounts.ACCOUNT.fullmatch(name):
        raise typer.BadParameter(
            "must be 1 to 64 letters (a to z), digits, dashes, dots or underscores, the first one"
            " a letter or digit: it stands in the URL"
        )
    return name


def _mode(name: str) -> str:
    if name not in MODES:
        raise typer.BadParameter(f"must be one of {', '.join(MODES)}")
    return name


def _origin(url: str) -> str:
    if not re.fullmatch(r"https?://[^/?#\s]+/?", url):
        raise typer.BadParameter("must be https:// and a host, with nothing behind it")
    return url


AccountArgument = Annotated[str, typer.Argument(callback=_account, help="The account's name; it stands in its URL.")]
CredentialsOption = Annotated[
    Path | None, typer.Option("--credentials", help="JSON file with the credentials; - for stdin (default: ask).")
]


@app.command()
def add(
    gateway: GatewayArgument,
    account: AccountArgument,
    merchant: Annotated[str, typer.Option("--merchant", help="Whose money it is; see `gatehouse merchants`.")],
    mode: Annotated[str, typer.Option("--mode", callback=_mode, help="test or live (both: development only).")],
    credentials: CredentialsOption = None,
) -> None:
    """Add an account; it works within a minute."""
    database = ops_database()
    if mode == "both" and settings().stage not in DEVELOPMENT_STAGES:
        raise SettingError("mode both is for development only: choose test or live")
    wanted = gateway_named(gateway).CREDENTIALS
    given = asked_for(wanted, credentials)
    accounts.add_account(
        database,
        keyring(),
        gateway=gateway,
        account=account,
        merchant=merchant,
        mode=mode,
        credentials=as_kept(wanted, given),
        actor=actor(),
    )
    output.say(f"added {gateway}/{account} of {merchant}, {mode}; webhook path: {webhook_path(gateway, account)}")
    for each in wanted:
        if each.is_made_here:
            output.say(f"{each.name}, shown this once: {given[each.name]}")


@app.command("list")
def list_(gateway: GatewayOption = None) -> None:
    """List the accounts and how asking their gateways goes; a default one is named only where something is wrong."""
    database = ops_database()
    found = accounts.list_accounts(database, keyring(), gateway=gateway)
    troubles = {(each["gateway"], each["account"]): each for each in list_troubles(database, gateway)}
    for (of_gateway, account), trouble in troubles.items():
        if account == DEFAULT_ACCOUNT:
            output.say(f"{of_gateway}/{account}: {_trouble(trouble)}")
    if not found:
        output.say("no account besides the default ones yet: `gatehouse gateways add` adds one")
        return
    output.show_table(
        ("Gateway", "Account", "Merchant", "Mode", "On", "Secrets", "Changed", "Its API"),
        (
            (
                kept.row["gateway"],
                kept.row["account"],
                kept.row["merchant"],
                kept.row["mode"],
                "yes" if kept.row["is_active"] else "no",
                len(kept.credentials["signing_secrets"]),
                f"{kept.row['updated_at']:%Y-%m-%d %H:%M:%S}",
                _trouble(troubles.get((kept.row["gateway"], kept.row["account"]))),
            )
            for kept in found
        ),
        right=("Secrets",),
    )


@app.command()
def show(
    gateway: GatewayArgument,
    account: Annotated[str, typer.Argument(callback=_any_account, help="The account's name, or default.")],
) -> None:
    """Show an account: what is set, and how much each of its secrets is used. No secret is shown, only fingerprints."""
    database = ops_database()
    if account == DEFAULT_ACCOUNT:
        _show_default(database, gateway)
        return
    kept = accounts.find_account(database, keyring(), gateway, account)
    output.say(f"{gateway}/{account} of {kept.row['merchant']}, {kept.row['mode']}, {_on(kept)}")
    output.say(f"webhook path: {webhook_path(gateway, account)}")
    wanted = gateway_named(gateway).CREDENTIALS
    for each in wanted:
        if not each.signs:
            value = held(kept.credentials, each.name)
            output.say(f"{each.name:<16} {'not set' if not value else 'set' if each.is_secret else value}")
    used = accounts.use_of_secrets(database, gateway, account, datetime.now(UTC) - LOOKED_BACK)
    output.show_table(
        ("Secret", "Fingerprint", "Events in 30 days", "Last used (UTC)"),
        (
            (
                "current" if place == 0 else "old",
                name,
                used[name]["events"] if name in used else 0,
                f"{used[name]['last_used_at']:%Y-%m-%d %H:%M:%S}" if name in used else None,
            )
            for place, name in enumerate(map(fingerprint, kept.credentials["signing_secrets"]))
        ),
        right=("Events in 30 days",),
    )


@app.command()
def rotate(gateway: GatewayArgument, account: AccountArgument, credentials: CredentialsOption = None) -> None:
    """Give an account a new signing secret; the old one stays valid until it is retired."""
    database, keys = ops_database(), keyring()
    kept = accounts.find_account(database, keys, gateway, account)
    signing = [each for each in gateway_named(gateway).CREDENTIALS if each.signs]
    given = asked_for(signing, credentials)
    new = given[signing[0].name]
    olds = accounts.rotate_secret(database, keys, kept, new, actor=actor())
    output.say(f"{gateway}/{account}: {fingerprint(new)} is current, {olds} old; retire when the old is unused")
    if signing[0].is_made_here:
        output.say(f"{signing[0].name}, shown this once: {new}")


@app.command()
def credentials(gateway: GatewayArgument, account: AccountArgument, given_in: CredentialsOption = None) -> None:
    """Change what an account asks its gateway's API with; jobs that waited for that go on within a minute."""
    database, keys = ops_database(), keyring()
    kept = accounts.find_account(database, keys, gateway, account)
    # What is not given stays as it is.
    wanted = [each._replace(is_required=False) for each in gateway_named(gateway).CREDENTIALS if not each.signs]
    if not wanted:
        raise SettingError(f"{gateway} signs and is asked with the same secret: `gatehouse gateways rotate` changes it")
    given = asked_for(wanted, given_in)
    if not given:
        raise SettingError("nothing was given, so nothing is changed")
    changed = {**kept.credentials, **as_kept(wanted, given), "signing_secrets": kept.credentials["signing_secrets"]}
    accounts.replace_credentials(database, keys, kept, changed, actor=actor())
    output.say(f"{gateway}/{account}: changed {', '.join(given)}")


@app.command()
def retire(
    gateway: GatewayArgument,
    account: AccountArgument,
    force: Annotated[bool, typer.Option("--force", help="Also a secret that signed within the last 24 hours.")] = False,
) -> None:
    """Remove the old signing secrets of an account; one that was used within a day only with --force."""
    database, keys = ops_database(), keyring()
    kept = accounts.find_account(database, keys, gateway, account)
    try:
        retired = accounts.retire_secrets(database, keys, kept, now=datetime.now(UTC), force=force, actor=actor())
    except Conflict as still_used:
        raise SettingError(f"{still_used}; --force retires it all the same") from None
    if not retired:
        output.say("there is no old secret")
        return
    current = kept.credentials["signing_secrets"][0]
    output.say(f"{gateway}/{account}: {retired} old retired, {fingerprint(current)} stays")


@app.command()
def disable(gateway: GatewayArgument, account: AccountArgument) -> None:
    """Switch an account off: its events are still checked and kept, as ignored, and count as nothing."""
    accounts.switch_account(ops_database(), gateway, account, is_active=False, actor=actor())
    output.say(f"{gateway}/{account} is off")


@app.command()
def enable(gateway: GatewayArgument, account: AccountArgument) -> None:
    """Switch an account on again; `gatehouse events retry` takes up what was ignored meanwhile."""
    accounts.switch_account(ops_database(), gateway, account, is_active=True, actor=actor())
    output.say(f"{gateway}/{account} is on")


@app.command()
def test(
    gateway: GatewayArgument,
    account: AccountArgument,
    url: Annotated[
        str, typer.Option("--url", callback=_origin, help="Address of the API, such as https://hooks.example.com.")
    ],
) -> None:
    """Send an event of an unknown type to the account's own URL, signed as the gateway would; it is kept as ignored."""
    if gateway == "paypal":
        raise SettingError("PayPal signs with its own key: send a test from its webhooks simulator (test accounts)")
    kept = accounts.find_account(ops_database(), keyring(), gateway, account)
    secret = kept.credentials["signing_secrets"][0]
    body = json.dumps(_test_payload(gateway, kept)).encode()
    headers = send.SIGNERS[gateway](body, {}, secret, int(time.time()))
    path = webhook_path(gateway, account).replace("<token>", quote(secret, safe=""))
    try:
        status, answer = send.post(url.rstrip("/") + path, body, {"Content-Type": "application/json", **headers})
    except send.EventNotSendable as reason:
        raise ServiceUnavailable(str(reason)) from None
    output.say(f"{status} {answer}")
    raise typer.Exit(0 if status == 200 else 1)


def _show_default(database: Database, gateway: str) -> None:
    """Show what the database knows of a default account: how much each of its secrets is used."""
    output.say(f"{gateway}/{DEFAULT_ACCOUNT}: its secret is in Secrets Manager")
    output.say(f"webhook path: {webhook_path(gateway, DEFAULT_ACCOUNT)}")
    used = accounts.use_of_secrets(database, gateway, DEFAULT_ACCOUNT, datetime.now(UTC) - LOOKED_BACK)
    if not used:
        output.say("no secret was used in 30 days")
        return
    output.show_table(
        ("Fingerprint", "Events in 30 days", "Last used (UTC)"),
        (
            (name, row["events"], f"{row['last_used_at']:%Y-%m-%d %H:%M:%S}")
            for name, row in sorted(used.items(), key=lambda each: each[1]["last_used_at"], reverse=True)
        ),
        right=("Events in 30 days",),
    )


def _test_payload(gateway: str, kept: KeptAccount) -> dict[str, Any]:
    """Return an event that means nothing, in the gateway's own form."""
    now = int(time.time())
    livemode = kept.row["mode"] == "live"
    match gateway:
        case "stripe":
            head = {"id": f"evt_gatehouse_test_{now}", "object": "event", "created": now, "livemode": livemode}
            return {**head, "type": "gatehouse.test", "data": {"object": {}}}
        case "mx_merchant":
            return {"eventType": "GatehouseTest", "merchantId": kept.credentials["merchant_id"], "id": str(now)}
        case _:
            data = {"id": now, "domain": "live" if livemode else "test"}
            return {"event": "gatehouse.test", "type": "gatehouse.test", "data": data}


def _trouble(trouble: dict[str, Any] | None) -> str:
    """Say whether an account's gateway takes its credentials and answers, as far as its last job knows."""
    if trouble is None:
        return "well"
    word = "credentials refused" if trouble["kind"] == "refused" else "fails"
    return f"{word} since {trouble['began_at']:%Y-%m-%d %H:%M}: {trouble['reason']}"


def _on(kept: KeptAccount) -> str:
    return "on" if kept.row["is_active"] else "off (the account or its merchant)"
