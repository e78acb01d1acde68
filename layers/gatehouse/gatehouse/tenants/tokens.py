"""Tokens of callers: signed by an issuer that the settings name, checked with its published keys.

The algorithm is that of the settings and never that of the token; issuer, audience, expiry and `sub` must be there. An
issuer's keys are fetched when first needed and kept for an hour; a key that is not among them is looked for again, at
most once a minute, so that a rotated one works and a made-up one costs nothing.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jwt

from gatehouse.errors import RequestRefused, ServiceUnavailable, SettingError
from gatehouse.settings import settings

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")  # a shared secret is none of ours to keep
KEPT_SECONDS = 3600.0
BETWEEN_FETCHES_SECONDS = 60.0
FETCH_SECONDS = 3.0
MOST_BYTES = 8192
LEEWAY_SECONDS = 30

type FetchKeys = Callable[[str], Mapping[str, Any]]


@dataclass(frozen=True)
class Issuer:
    """Somebody whose word we take for who a caller is."""

    name: str
    issuer: str
    audience: str
    algorithm: str
    jwks_url: str
    merchant: str
    claims: str = "gatehouse_"  # what the names of our own claims begin with; the console alone reads such


@dataclass(frozen=True)
class Shown:
    """Who a token says the caller is."""

    subject: str
    merchant: str
    claims: Mapping[str, Any]
    issuer: Issuer


class Tokens:
    """The issuers of one deployment and their keys."""

    def __init__(
        self, issuers: tuple[Issuer, ...], fetch: FetchKeys, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._issuers = {each.issuer: each for each in issuers}
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, tuple[float, dict[str, Any]]] = {}

    @property
    def names(self) -> list[str]:
        """Return the names of the issuers whose tokens are taken."""
        return [each.name for each in self._issuers.values()]

    def read(self, token: str) -> Shown:
        """Return who a token says the caller is; raise RequestRefused when it is not good."""
        if len(token) > MOST_BYTES:
            raise _refused("is too long")
        try:
            head = jwt.get_unverified_header(token)
            told = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError:
            raise _refused("cannot be read") from None
        issuer = self._issuers.get(str(told.get("iss")))
        if issuer is None:
            raise _refused("is of an issuer that is not known here")
        key = self._key(issuer, str(head.get("kid", "")))
        if key is None:
            raise _refused("is signed with a key that its issuer does not publish")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[issuer.algorithm],
                audience=issuer.audience,
                issuer=issuer.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "sub", "iss", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            raise RequestRefused("The token has expired.", code="TOKEN_EXPIRED", status=401) from None
        except jwt.PyJWTError:
            raise _refused("is not good") from None
        return Shown(f"{issuer.name}:{claims['sub']}", issuer.merchant, claims, issuer)

    def _key(self, issuer: Issuer, key_id: str) -> Any:
        now = self._clock()
        fetched_at, keys = self._keys.get(issuer.issuer, (float("-inf"), {}))
        age = now - fetched_at
        if age > KEPT_SECONDS or (key_id not in keys and age > BETWEEN_FETCHES_SECONDS):
            try:
                keys = _usable(self._fetch(issuer.jwks_url), issuer.algorithm)
            except (OSError, ValueError):
                if not keys:
                    raise ServiceUnavailable("The keys of the token's issuer cannot be fetched.") from None
            self._keys[issuer.issuer] = (now, keys)
        return keys.get(key_id)


def issuers_of(text: str, setting: str = "TENANT_JWT_ISSUERS") -> tuple[Issuer, ...]:
    """Return the issuers of a setting; raise SettingError that says what is wrong."""
    if not text:
        return ()
    try:
        found = tuple(Issuer(**each) for each in json.loads(text))
    except (ValueError, TypeError):
        raise SettingError(
            f"{setting} is no JSON list of {{name, issuer, audience, algorithm, jwks_url, merchant}}"
        ) from None
    for each in found:
        if each.algorithm not in ALGORITHMS:
            raise SettingError(f"{setting}: {each.name} has the algorithm {each.algorithm}, none of ours")
        if not each.jwks_url.startswith("https://") and settings().stage != "local":
            raise SettingError(f"{setting}: the jwks_url of {each.name} is not https")
        if each.name in ("key", "user", "ops") or ":" in each.name or not each.audience:
            raise SettingError(f"{setting}: {each.name!r} needs another name, or an audience")
    return found


@cache
def tokens() -> Tokens:
    """Return the issuers of this process."""
    return Tokens(issuers_of(settings().tenant_jwt_issuers), _fetched)


@cache
def console_tokens() -> Tokens:
    """Return the issuers whose tokens sign people in to the console of this process."""
    return Tokens(issuers_of(settings().console_jwt_issuers, "CONSOLE_JWT_ISSUERS"), _fetched)


def _fetched(url: str) -> Mapping[str, Any]:
    import httpx

    try:
        answer = httpx.get(url, timeout=FETCH_SECONDS)
        answer.raise_for_status()
        said = answer.json()
    except httpx.HTTPError as reason:
        raise OSError(type(reason).__name__) from None
    if not isinstance(said, dict):
        raise ValueError("no JSON object")
    return said


def _usable(published: Mapping[str, Any], algorithm: str) -> dict[str, Any]:
    """Return the keys of a set by their ids, those only that are of the kind that the algorithm takes."""
    keys: dict[str, Any] = {}
    for each in published.get("keys", []):
        try:
            keys[str(each.get("kid", ""))] = jwt.PyJWK(each, algorithm).key
        except (jwt.PyJWTError, AttributeError):
            continue  # of another kind, or for another use
    return keys


def _refused(why: str) -> RequestRefused:
    return RequestRefused(f"The token {why}.", code="TOKEN_REFUSED", status=401)
