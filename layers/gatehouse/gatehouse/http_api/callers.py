"""Who calls: the key that the request shows, whose rows it may see, what it may do, and how often.

One statement finds the key, takes one of its requests of this minute, and answers for both. All that follows works
with the merchant of the key in the same flush, so that row-level security holds every question to it.
"""

import math
from collections.abc import Callable
from typing import Annotated, NamedTuple

from fastapi import Depends, Header, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gatehouse.database.connection import Database
from gatehouse.errors import InputRefused, RequestRefused, TooManyRequests
from gatehouse.jobs.bell import Bell, bell
from gatehouse.models.api_keys import ROLES, Use, use_key
from gatehouse.models.memberships import may_read_health_data
from gatehouse.observability import log

MERCHANT_HEADER = "Gatehouse-Merchant"

REFUSED = {
    "unknown": (401, "KEY_UNKNOWN", "The key is not known."),
    "revoked": (401, "KEY_REVOKED", "The key was revoked."),
    "expired": (401, "KEY_EXPIRED", "The key has expired."),
    "merchant_off": (403, "MERCHANT_OFF", "The merchant of the key is switched off."),
}

_bearer = HTTPBearer(
    scheme_name="ApiKey",
    bearerFormat="gh_…",
    description="A key from `gatehouse keys create`, as `Authorization: Bearer gh_…`.",
    auto_error=False,
)


class Caller(NamedTuple):
    """Somebody with a key that works."""

    key_id: str
    merchant: str
    role: str

    @property
    def actor(self) -> str:
        """Return what the audit calls whoever has this key."""
        return f"key {self.key_id}"

    def may(self, role: str) -> bool:
        """Tell whether the key may do what this role may."""
        return ROLES.index(self.role) >= ROLES.index(role)


class Desk(NamedTuple):
    """What the API works with; tests hand in their own."""

    database: Callable[[], Database]
    bell: Callable[[], Bell] = bell


def desk_of(request: Request) -> Desk:
    """Return what the application of this request works with."""
    desk: Desk = request.app.state.desk
    return desk


async def reader(
    request: Request,
    shown: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    named: Annotated[
        str | None,
        Header(
            alias=MERCHANT_HEADER, description="Which merchant; only with a key for every merchant, and then always."
        ),
    ] = None,
) -> Caller:
    """Return who calls; anybody with a key that works may read."""
    if shown is None:
        raise RequestRefused("Show a key: `Authorization: Bearer gh_…`.", code="KEY_MISSING", status=401)
    use = use_key(desk_of(request).database(), shown.credentials)
    if use is None:
        raise _refused("unknown")
    log.add(key_id=use.key_id)
    if use.answer in REFUSED:
        raise _refused(use.answer)
    request.state.rate_headers = _rate_headers(use)
    if use.answer == "limited":
        raise TooManyRequests(wait_seconds=math.ceil(use.wait_seconds))
    caller = Caller(use.key_id, _merchant(use, named), use.role)
    log.add(merchant=caller.merchant)
    return caller


Reader = Annotated[Caller, Depends(reader)]


async def writer(caller: Reader) -> Caller:
    """Return who calls, if the key may change anything: a viewer's may not."""
    if not caller.may("developer"):
        raise RequestRefused("A viewer's key reads only.", code="ROLE_TOO_LOW", status=403)
    return caller


Writer = Annotated[Caller, Depends(writer)]


async def health_reader(request: Request, caller: Reader) -> Caller:
    """Return who calls, if the key may see products, memberships and patients."""
    if not may_read_health_data(desk_of(request).database(), caller.merchant, caller.key_id):
        raise RequestRefused("The key may not see health data.", code="HEALTH_DATA_NOT_ALLOWED", status=403)
    return caller


HealthReader = Annotated[Caller, Depends(health_reader)]


async def health_writer(caller: HealthReader) -> Caller:
    """Return who calls, if the key may see health data and change something."""
    return await writer(caller)


HealthWriter = Annotated[Caller, Depends(health_writer)]


async def health_admin(caller: HealthReader) -> Caller:
    """Return who calls, if the key may see who read what."""
    if not caller.may("admin"):
        raise RequestRefused("Only an admin's key may ask for this.", code="ROLE_TOO_LOW", status=403)
    return caller


HealthAdmin = Annotated[Caller, Depends(health_admin)]


async def operator(caller: Reader) -> Caller:
    """Return who calls, if the key is of somebody who looks after Gatehouse."""
    if not caller.may("ops"):
        raise RequestRefused("Only a key with the role ops may ask for this.", code="ROLE_TOO_LOW", status=403)
    return caller


Operator = Annotated[Caller, Depends(operator)]


def _merchant(use: Use, named: str | None) -> str:
    if use.merchant is None:
        if not named:
            raise InputRefused(
                "This key is for every merchant, so the request must name one.", field=MERCHANT_HEADER, place="header"
            )
        return named
    if named and named != use.merchant:
        raise RequestRefused("The key is for another merchant.", code="MERCHANT_NOT_YOURS", status=403)
    return use.merchant


def _refused(answer: str) -> RequestRefused:
    status, code, words = REFUSED[answer]
    return RequestRefused(words, code=code, status=status)


def _rate_headers(use: Use) -> dict[str, str]:
    """Return what draft-ietf-httpapi-ratelimit-headers has clients look at."""
    return {
        "ratelimit-policy": f'"key";q={use.rate_per_minute};w=60',
        "ratelimit": f'"key";r={use.requests_left};t={math.ceil(use.full_in_seconds)}',
    }
