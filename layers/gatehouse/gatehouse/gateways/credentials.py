"""What an account at a gateway is given, checked, and in the form in which the account keeps it."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from gatehouse.errors import ValidationError
from gatehouse.gateways import Credential

MADE_CHARACTERS = 48


def checked(wanted: Sequence[Credential], given: Mapping[str, Any]) -> dict[str, str]:
    """Return what is given, with what is made here; raise ValidationError that names what is missing or unknown."""
    if unknown := given.keys() - {each.name for each in wanted}:
        raise ValidationError(
            f"unknown: {', '.join(sorted(unknown))}; wanted: {', '.join(each.name for each in wanted)}"
        )
    found: dict[str, str] = {}
    for each in wanted:
        value = given.get(each.name) or (secrets.token_urlsafe(MADE_CHARACTERS) if each.is_made_here else "")
        if not isinstance(value, str):
            raise ValidationError(f"{each.name} must be a text")
        if each.is_required and not value.strip():
            raise ValidationError(f"{each.name} is missing: {each.words}")
        if value.strip():
            found[each.name] = value.strip()
    return found


def as_kept(wanted: Sequence[Credential], given: Mapping[str, str]) -> dict[str, Any]:
    """Return credentials in the form in which an account keeps them: `hmac.header` is the header of its hmac."""
    kept: dict[str, Any] = {"signing_secrets": []}
    for each in wanted:
        if each.name not in given:
            continue
        group, _dot, field = each.name.rpartition(".")
        if each.signs:
            kept["signing_secrets"] = [given[each.name]]
        elif group:
            # Secrets come in lists, so that an old and a new one can stand side by side.
            kept.setdefault(group, {})[field] = [given[each.name]] if field == "secrets" else given[each.name]
        else:
            kept[each.name] = given[each.name]
    return kept


def webhook_path(gateway: str, account: str, token: str = "") -> str:
    """Return where a gateway sends an account's events; only MX Merchant's address ends with a token."""
    ending = f"/{token or '<token>'}" if gateway == "mx_merchant" else ""
    return f"/webhooks/{gateway}/{account}{ending}"


def held(kept: Mapping[str, Any], name: str) -> Any:
    """Return what an account keeps under a credential's name, or None."""
    group, _dot, field = name.rpartition(".")
    place = kept.get(group, {}) if group else kept
    return place.get(field)
