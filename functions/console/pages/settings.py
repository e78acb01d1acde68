"""Settings: merchants, their accounts at the gateways, and the keys to API and console; for operators."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from console.desk import desk_of
from console.forms import query_of
from console.views import go, page
from console.visitors import Changing, Operator
from gatehouse.accounts import DEVELOPMENT_STAGES, MODES, fingerprint
from gatehouse.errors import ForeignKeyViolation, InputRefused, NotFound, ValidationError
from gatehouse.gateways import NAMES, gateway_named
from gatehouse.gateways.credentials import MADE_CHARACTERS, as_kept, checked, webhook_path
from gatehouse.http_api.fields import RowId, Word
from gatehouse.intake.accounts import DEFAULT_ACCOUNT
from gatehouse.models import accounts, api_keys
from gatehouse.models.admin_changes import list_changes
from gatehouse.settings import settings

NAVIGATION = (("Settings", "ops", "settings"),)

MOST_SHOWN = 30  # of each list: a page stays small with any number of merchants
CHANGES_SHOWN = 10

router = APIRouter()


class Looked(BaseModel):
    """What is looked for among merchants, accounts and keys."""

    model_config = ConfigDict(extra="forbid")

    text: Word | None = None


class NewMerchant(BaseModel):
    """A merchant to be added."""

    model_config = ConfigDict(extra="ignore")

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    name: Word


class NewAccount(BaseModel):
    """An account at a gateway to be added, without what is secret of it."""

    model_config = ConfigDict(extra="ignore")

    gateway: Word
    account: Word
    merchant: Word
    mode: Word


class ChangeFilters(BaseModel):
    """Which changes are wanted; `before` is the number at which the page before ended."""

    model_config = ConfigDict(extra="ignore")

    merchant: Word | None = None
    before: RowId | None = None
    limit: int = Field(50, ge=1, le=100)


class NewKey(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(extra="ignore")

    name: Word
    merchant: Word | None = None
    role: Word = "viewer"
    days: int = Field(365, ge=0, le=3660)
    health: bool = False


@router.get("/console/ops/settings")
async def show(request: Request, visitor: Operator) -> Response:
    """Show merchants, accounts and keys, and who changed them of late."""
    return _page(request, visitor)


@router.get("/console/ops/settings/changes")
async def show_changes(request: Request, visitor: Operator) -> Response:  # noqa: ARG001 - being one is enough
    """Show who changed what of merchants, accounts, keys and apps, the newest first, in pages."""
    asked = query_of(request, ChangeFilters)
    rows = list_changes(
        desk_of(request).ops_database(), merchant=asked.merchant, before=asked.before, most=asked.limit + 1
    )
    return page(
        request,
        "settings_changes.html",
        "Changes",
        rows=rows[: asked.limit],
        next=rows[asked.limit - 1].id if len(rows) > asked.limit else None,
        merchants=[row["id"] for row in accounts.list_merchants(desk_of(request).ops_database())],
        asked=asked,
        path="/console/ops/settings/changes",
    )


@router.post("/console/ops/settings/merchants")
async def add_merchant(request: Request, visitor: Operator, form: Changing) -> Response:
    """Add a merchant."""
    new = form.read(NewMerchant)
    accounts.add_merchant(desk_of(request).ops_database(), new.id, new.name, actor=visitor.actor)
    return go(request, "/console/ops/settings", f"The merchant {new.id} was added.")


@router.post("/console/ops/settings/merchants/{merchant_id}/switch")
async def switch_merchant(request: Request, visitor: Operator, merchant_id: str, form: Changing) -> Response:
    """Switch a merchant on or off."""
    on = form.text("on") == "yes"
    accounts.switch_merchant(desk_of(request).ops_database(), merchant_id, is_active=on, actor=visitor.actor)
    return go(request, "/console/ops/settings", f"The merchant {merchant_id} is {'on' if on else 'off'} now.")


@router.get("/console/ops/settings/accounts/new")
async def ask_for_account(request: Request, visitor: Operator) -> Response:  # noqa: ARG001 - being one is enough
    """Ask for what a new account at a gateway needs."""
    gateway = request.query_params.get("gateway", NAMES[0])
    if gateway not in NAMES:
        raise NotFound("There is no such gateway.")
    return page(
        request,
        "account_new.html",
        f"A new account at {gateway}",
        gateway=gateway,
        gateways=NAMES,
        wanted=gateway_named(gateway).CREDENTIALS,
        merchants=[(row["id"], row["name"]) for row in accounts.list_merchants(desk_of(request).ops_database())],
        modes=_modes(),
    )


@router.post("/console/ops/settings/accounts")
async def add_account(request: Request, visitor: Operator, form: Changing) -> Response:
    """Add an account, as `gatehouse gateways add` does, and show the address to put in at the gateway."""
    new, desk = form.read(NewAccount), desk_of(request)
    if new.gateway not in NAMES:
        raise InputRefused(f"gateway: must be one of {', '.join(NAMES)}.", field="gateway", place="form")
    if new.account == DEFAULT_ACCOUNT or not accounts.ACCOUNT.fullmatch(new.account):
        words = "account: letters, digits, dashes, dots or underscores; the default one is set at deployment."
        raise InputRefused(words, field="account", place="form")
    if new.mode not in _modes():
        raise InputRefused(f"mode: must be one of {', '.join(_modes())}.", field="mode", place="form")
    wanted = gateway_named(new.gateway).CREDENTIALS
    told = {each.name: form.text(f"credential.{each.name}") for each in wanted}
    try:
        given = checked(wanted, {name: value for name, value in told.items() if value})
    except ValidationError as wrong:
        raise InputRefused(f"credentials: {wrong}.", field="credentials", place="form") from None
    accounts.add_account(
        desk.ops_database(),
        desk.keyring(),
        gateway=new.gateway,
        account=new.account,
        merchant=new.merchant,
        mode=new.mode,
        credentials=as_kept(wanted, given),
        actor=visitor.actor,
    )
    (signing,) = [each for each in wanted if each.signs]
    words = f"{new.gateway}/{new.account} was added, and works within a minute. Put this address in at {new.gateway}:"
    if signing.is_made_here:
        words += " it ends with the token, which is shown this once."
    token = quote(given[signing.name], safe="") if signing.is_made_here else ""
    return _page(request, visitor, made=_address(request, new.gateway, new.account, token), made_words=words)


@router.post("/console/ops/settings/accounts/{gateway}/{account}/switch")
async def switch_account(request: Request, visitor: Operator, gateway: str, account: str, form: Changing) -> Response:
    """Switch an account on or off."""
    on = form.text("on") == "yes"
    accounts.switch_account(desk_of(request).ops_database(), gateway, account, is_active=on, actor=visitor.actor)
    return go(request, "/console/ops/settings", f"{gateway}/{account} is {'on' if on else 'off'} now.")


@router.post("/console/ops/settings/accounts/{gateway}/{account}/rotate")
async def rotate(request: Request, visitor: Operator, gateway: str, account: str, form: Changing) -> Response:
    """Give an account a new signing secret; the old one stays valid beside it until it is retired."""
    desk = desk_of(request)
    database, keyring = desk.ops_database(), desk.keyring()
    kept = accounts.find_account(database, keyring, gateway, account)
    (signing,) = [each for each in gateway_named(gateway).CREDENTIALS if each.signs]
    new = form.text("secret") or (secrets.token_urlsafe(MADE_CHARACTERS) if signing.is_made_here else "")
    if not new:
        raise InputRefused(f"secret: is needed: {signing.words}.", field="secret", place="form")
    accounts.rotate_secret(database, keyring, kept, new, actor=visitor.actor)
    words = f"{gateway}/{account} takes a new secret, {fingerprint(new)}, and the old one beside it."
    if signing.is_made_here and not form.has("secret"):
        return _page(request, visitor, made=new, made_words=f"{words} It is shown this once: put it in at {gateway}.")
    return go(request, "/console/ops/settings", words)


@router.post("/console/ops/settings/accounts/{gateway}/{account}/retire")
async def retire(request: Request, visitor: Operator, gateway: str, account: str, form: Changing) -> Response:  # noqa: ARG001 - the form was checked
    """Remove the old secrets of an account, unless one of them was used within a day."""
    desk = desk_of(request)
    database, keyring = desk.ops_database(), desk.keyring()
    kept = accounts.find_account(database, keyring, gateway, account)
    count = accounts.retire_secrets(database, keyring, kept, now=datetime.now(UTC), force=False, actor=visitor.actor)
    return go(request, "/console/ops/settings", f"{gateway}/{account}: old secrets retired: {count}.")


@router.post("/console/ops/settings/keys")
async def make_key(request: Request, visitor: Operator, form: Changing) -> Response:
    """Make a key and show it, once."""
    new = form.read(NewKey)
    if new.role not in api_keys.ROLES:
        raise InputRefused(f"role: must be one of {', '.join(api_keys.ROLES)}.", field="role", place="form")
    if new.merchant is None and new.role != "ops":
        raise InputRefused("role: a key for all merchants has the role ops.", field="role", place="form")
    key = api_keys.new_key()
    try:
        api_keys.add_key(
            desk_of(request).ops_database(),
            key,
            merchant=new.merchant,
            role=new.role,
            name=new.name,
            expires_at=datetime.now(UTC) + timedelta(days=new.days) if new.days else None,
            may_read_health_data=new.health,
            made_by=visitor.actor,
            actor=visitor.actor,
        )
    except ForeignKeyViolation:
        raise InputRefused("merchant: there is none such.", field="merchant", place="form") from None
    return _page(request, visitor, made=key, made_words=f"The key of {new.name} is shown this once:")


@router.post("/console/ops/settings/keys/{key_id}/revoke")
async def revoke(request: Request, visitor: Operator, key_id: str, form: Changing) -> Response:  # noqa: ARG001 - the form was checked
    """End a key for ever."""
    row = api_keys.revoke_key(desk_of(request).ops_database(), key_id, actor=visitor.actor)
    return go(request, "/console/ops/settings", f"{row['id']} ({row['name']}) opens nothing any more.")


def _page(request: Request, visitor: Any, *, made: str = "", made_words: str = "") -> Response:
    desk = desk_of(request)
    database = desk.ops_database()
    text = query_of(request, Looked).text if request.method == "GET" else None
    merchants = accounts.look_for_merchants(database, text=text, most=MOST_SHOWN + 1)
    kept = accounts.look_for_accounts(database, desk.keyring(), text=text, most=MOST_SHOWN + 1)
    keys = api_keys.look_for_keys(database, text=text, most=MOST_SHOWN + 1)
    return page(
        request,
        "settings.html",
        "Settings",
        merchants=merchants[:MOST_SHOWN],
        gateways=NAMES,
        kept=[_shown(request, each) for each in kept[:MOST_SHOWN]],
        keys=keys[:MOST_SHOWN],
        text=text,
        most=MOST_SHOWN,
        is_cut=any(len(rows) > MOST_SHOWN for rows in (merchants, kept, keys)),
        own_key=visitor.key_id,
        roles=api_keys.ROLES,
        changes=list_changes(database, most=CHANGES_SHOWN),
        now=datetime.now(UTC),
        made=made,
        made_words=made_words,
    )


def _modes() -> tuple[str, ...]:
    """Return which events an account may take: both kinds only where nothing is live."""
    return MODES if settings().stage in DEVELOPMENT_STAGES else tuple(mode for mode in MODES if mode != "both")


def _address(request: Request, gateway: str, account: str, token: str = "") -> str:
    """Return where a gateway sends an account's events: the address of the API, at which the console is too."""
    scheme = "https" if desk_of(request).is_secure else request.url.scheme
    base = settings().public_api_url or f"{scheme}://{request.headers.get('host', '')}"
    return base + webhook_path(gateway, account, token)


def _shown(request: Request, kept: accounts.KeptAccount) -> dict[str, Any]:
    """Return an account as it may be shown: secrets by their fingerprints."""
    row = {name: kept.row[name] for name in ("gateway", "account", "merchant", "mode", "is_active")}
    current, *old = [fingerprint(each) for each in kept.credentials["signing_secrets"]] or [""]
    return {**row, "current": current, "old": old, "address": _address(request, row["gateway"], row["account"])}
