"""What the API of tenants works with, and who asks it: an API key, or a token of an issuer that the settings name."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gatehouse.data_keys import process_keyring
from gatehouse.database.connection import Database
from gatehouse.errors import RequestRefused
from gatehouse.http_api.callers import Caller, reader
from gatehouse.jobs.bell import Bell, bell
from gatehouse.observability import log
from gatehouse.sealing import Keyring
from gatehouse.settings import settings
from gatehouse.tenants import factory
from gatehouse.tenants.links import Links
from gatehouse.tenants.records import Who, user_of_key
from gatehouse.tenants.tokens import Tokens, tokens

KEY_PREFIX = "gh_"

_bearer = HTTPBearer(
    scheme_name="KeyOrToken",
    description="A key from `gatehouse keys create`, or a token (JWT) of an issuer that this deployment trusts.",
    auto_error=False,
)


@dataclass(frozen=True)
class TenantsDesk:
    """What the API works with; tests hand in their own."""

    database: Callable[[], Database]
    bell: Callable[[], Bell]
    keyring: Callable[[], Keyring]
    links: Callable[[], Links]
    tokens: Callable[[], Tokens]
    engine_for: Callable[[str, str | None], str]
    grace_days: int
    statement_milliseconds: int
    backup: Callable[[], Database | None] = lambda: None  # what is done here is done in the primary database only


@dataclass(frozen=True)
class Asker:
    """Somebody who may use this API, as a tenant's permissions and its database know him."""

    who: Who
    claims: dict[str, Any]
    may_create: bool


def process_desk(database: Callable[[], Database]) -> TenantsDesk:
    """Return the desk of this process."""
    return TenantsDesk(
        database,
        bell,
        process_keyring,
        factory.links,
        tokens,
        factory.engine_for,
        settings().tenant_grace_days,
        settings().tenant_statement_milliseconds,
    )


def desk_of(request: Request) -> TenantsDesk:
    """Return what the application of this request works with."""
    desk: TenantsDesk = request.app.state.desk
    return desk


async def asker(
    request: Request,
    shown: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> Asker:
    """Return who asks; raise RequestRefused for a key or token that is not good."""
    if shown is None or shown.credentials.startswith(KEY_PREFIX):
        caller = await reader(request, shown, request.headers.get("gatehouse-merchant"))
        return _of_key(desk_of(request), caller)
    told = desk_of(request).tokens().read(shown.credentials)
    log.add(merchant=told.merchant)
    claims = {name: told.claims[name] for name in ("sub", "email", "aud", "exp") if name in told.claims}
    return Asker(Who(told.merchant, told.subject), {**claims, "role": "authenticated"}, may_create=True)


Asking = Annotated[Asker, Depends(asker)]


def acting_as(asker: Asker, claims: dict[str, Any]) -> Asker:
    """Return somebody who asks for a user of his own, with that user's claims."""
    return replace(asker, claims=claims)


def _of_key(desk: TenantsDesk, caller: Caller) -> Asker:
    """A key stands for the user whom it was made for, else for itself."""
    user = user_of_key(desk.database(), caller.key_id)
    subject = f"user:{user}" if user else f"key:{caller.key_id}"
    is_operator = caller.may("ops")
    claims = {"sub": user or caller.key_id, "role": "authenticated"}
    return Asker(Who(caller.merchant, subject, is_operator), claims, may_create=caller.may("developer"))


def needs_creating(asker: Asker) -> None:
    """Raise RequestRefused for a viewer's key, which makes no tenants."""
    if not asker.may_create:
        raise RequestRefused("A viewer's key makes no tenants.", code="ROLE_TOO_LOW", status=403)


def is_uuid(text: str) -> bool:
    """Tell whether a text is a UUID, as auth.uid() needs it."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True
