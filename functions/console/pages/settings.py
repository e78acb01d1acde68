"""Settings: merchants, their accounts at the gateways, and the keys to API and console; for operators."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from console.desk import desk_of
from console.views import go, page
from console.visitors import Changing, Operator
from gatehouse.accounts import fingerprint
from gatehouse.errors import ForeignKeyViolation, InputRefused
from gatehouse.gateways import gateway_named
from gatehouse.http_api.fields import Word
from gatehouse.models import accounts, api_keys

NAVIGATION = (("Settings", "ops", "settings"),)

MADE_CHARACTERS = 48
QUIET_BEFORE_RETIRING = timedelta(hours=24)

router = APIRouter()


class NewMerchant(BaseModel):
    """A merchant to be added."""

    model_config = ConfigDict(extra="ignore")

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    name: Word


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
    """Show merchants, accounts and keys."""
    return _page(request, visitor)


@router.post("/console/ops/settings/merchants")
async def add_merchant(request: Request, visitor: Operator, form: Changing) -> Response:  # noqa: ARG001 - being one is enough
    """Add a merchant."""
    new = form.read(NewMerchant)
    accounts.add_merchant(desk_of(request).ops_database(), new.id, new.name)
    return go(request, "/console/ops/settings", f"The merchant {new.id} was added.")


@router.post("/console/ops/settings/merchants/{merchant_id}/switch")
async def switch_merchant(request: Request, visitor: Operator, merchant_id: str, form: Changing) -> Response:  # noqa: ARG001 - as above
    """Switch a merchant on or off."""
    on = form.text("on") == "yes"
    accounts.switch_merchant(desk_of(request).ops_database(), merchant_id, is_active=on)
    return go(request, "/console/ops/settings", f"The merchant {merchant_id} is {'on' if on else 'off'} now.")


@router.post("/console/ops/settings/accounts/{gateway}/{account}/switch")
async def switch_account(request: Request, visitor: Operator, gateway: str, account: str, form: Changing) -> Response:  # noqa: ARG001 - as above
    """Switch an account on or off."""
    on = form.text("on") == "yes"
    accounts.switch_account(desk_of(request).ops_database(), gateway, account, is_active=on)
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
    accounts.rotate_secret(database, keyring, kept, new)
    words = f"{gateway}/{account} takes a new secret, {fingerprint(new)}, and the old one beside it."
    if signing.is_made_here and not form.has("secret"):
        return _page(request, visitor, made=new, made_words=f"{words} It is shown this once: put it in at {gateway}.")
    return go(request, "/console/ops/settings", words)


@router.post("/console/ops/settings/accounts/{gateway}/{account}/retire")
async def retire(request: Request, visitor: Operator, gateway: str, account: str, form: Changing) -> Response:  # noqa: ARG001 - as above
    """Remove the old secrets of an account, unless one of them was used within a day."""
    desk = desk_of(request)
    database, keyring = desk.ops_database(), desk.keyring()
    kept = accounts.find_account(database, keyring, gateway, account)
    since = datetime.now(UTC) - QUIET_BEFORE_RETIRING
    count = accounts.retire_secrets(database, keyring, kept, since=since, force=False)
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
        )
    except ForeignKeyViolation:
        raise InputRefused("merchant: there is none such.", field="merchant", place="form") from None
    return _page(request, visitor, made=key, made_words=f"The key of {new.name} is shown this once:")


@router.post("/console/ops/settings/keys/{key_id}/revoke")
async def revoke(request: Request, visitor: Operator, key_id: str, form: Changing) -> Response:  # noqa: ARG001 - as above
    """End a key for ever."""
    row = api_keys.revoke_key(desk_of(request).ops_database(), key_id)
    return go(request, "/console/ops/settings", f"{row['id']} ({row['name']}) opens nothing any more.")


def _page(request: Request, visitor: Any, *, made: str = "", made_words: str = "") -> Response:
    desk = desk_of(request)
    database = desk.ops_database()
    merchants = accounts.list_merchants(database)
    return page(
        request,
        "settings.html",
        "Settings",
        merchants=merchants,
        kept=[_shown(each) for each in accounts.list_accounts(database, desk.keyring())],
        keys=api_keys.list_keys(database),
        own_key=visitor.key_id,
        roles=api_keys.ROLES,
        now=datetime.now(UTC),
        made=made,
        made_words=made_words,
    )


def _shown(kept: accounts.KeptAccount) -> dict[str, Any]:
    """Return an account as it may be shown: secrets by their fingerprints."""
    row = {name: kept.row[name] for name in ("gateway", "account", "merchant", "mode", "is_active")}
    current, *old = [fingerprint(each) for each in kept.credentials["signing_secrets"]] or [""]
    return {**row, "current": current, "old": old}
