"""Reads single fields of a gateway's JSON. What is missing, null or of another type says nothing: None.

Only money is different: where an amount must be beyond doubt, the reader raises FactRefused.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from gatehouse.errors import FactRefused, RequestRefused
from gatehouse.facts import ObjectName
from gatehouse.gateways.json_body import read_json_object
from gatehouse.money import EXPONENTS, to_minor

MOST_CHARACTERS = 500  # of a text that is kept in a column
MOST_ID_CHARACTERS = 255


def text(value: object) -> str | None:
    """Return a text that says something, cut to what a column keeps."""
    return value[:MOST_CHARACTERS] if isinstance(value, str) and value else None


def mapping(value: object) -> Mapping[str, Any]:
    """Return a JSON object, or an empty one."""
    return value if isinstance(value, dict) else {}


def identifier(value: object) -> str | None:
    """Return the id of an object, where ids are texts."""
    return value if isinstance(value, str) and 0 < len(value) <= MOST_ID_CHARACTERS else None


def identifier_or_number(value: object) -> str | None:
    """Return the id of an object as text, where some payloads write it as a number."""
    return identifier(str(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def object_names(*said: tuple[str, object]) -> tuple[ObjectName, ...]:
    """Return the names of one money, of each kind that has an id; raise FactRefused when none has."""
    names = tuple(ObjectName(kind, found) for kind, value in said if (found := identifier_or_number(value)))
    if not names:
        raise FactRefused("the object has no id")
    return names


def livemode_of_domain(value: object) -> bool | None:
    """Return whether a `domain` of Paystack's or SaySwitch's means real money; None when it does not say."""
    return {"live": True, "test": False}.get(value) if isinstance(value, str) else None


def currency_code(value: object) -> str | None:
    """Return a currency of ISO 4217, in upper case."""
    code = value.upper() if isinstance(value, str) else ""
    return code if code in EXPONENTS else None


def moment(value: object) -> datetime | None:
    """Return a time of ISO 8601 that says its zone, in UTC; a time without a zone may mean any of 24 hours."""
    if not isinstance(value, str):
        return None
    try:
        said = datetime.fromisoformat(value)  # cuts what is finer than microseconds
        return said.astimezone(UTC) if said.tzinfo else None
    except (ValueError, OverflowError):  # no time at all; or one that leaves the calendar on its way to UTC
        return None


def first_moment(holder: Mapping[str, Any], *names: str) -> datetime | None:
    """Return the time of the first of these fields that has one."""
    return next((found for name in names if (found := moment(holder.get(name)))), None)


def minor_of_major(amount: object, currency: object) -> int:
    """Return an amount of major units, a text ("12.30") or a number, in minor units; else raise FactRefused."""
    code = currency_code(currency)
    if code is None:
        raise FactRefused("the currency is missing or unknown")
    exact = Decimal(amount) if isinstance(amount, int) and not isinstance(amount, bool) else amount
    if not isinstance(exact, (Decimal, str)):
        raise FactRefused("the amount is missing or not a decimal number")
    try:
        minor = to_minor(exact, code)
    except ValueError as reason:
        raise FactRefused(str(reason)) from reason
    if minor < 0:
        raise FactRefused("the amount is negative")
    return minor


def minor_of_major_or_none(amount: object, currency: object) -> int | None:
    """Return an amount of major units in minor units, where no money depends on it; None for any other."""
    try:
        return minor_of_major(amount, currency)
    except FactRefused:  # it was not said, or says nothing that can be counted
        return None


def plain_metadata(value: object) -> dict[str, str] | None:
    """Return what the merchant said with a payment, an object or the JSON of one; numbers and truths as text.

    Lists, objects and nulls in it are left to the payload, which is kept.
    """
    if isinstance(value, str):
        try:
            value = read_json_object(value.encode())
        except RequestRefused:  # any other text, "" among them
            return None
    found = {key: _as_text(inner) for key, inner in mapping(value).items() if isinstance(inner, (str, int, Decimal))}
    return found or None


_APP = re.compile("[a-z0-9][a-z0-9_-]{0,39}")


def app_name(value: object) -> str | None:
    """Return the name of one of the merchant's apps, in lower case; None for anything that cannot be one."""
    name = value.strip().lower() if isinstance(value, str) else ""
    return name if _APP.fullmatch(name) else None


def said_for_an_app(*metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return app, user_id and plan as the first of these metadata that has each says it."""
    found: dict[str, Any] = {}
    for said in metadata:
        for word, value in (
            ("app", app_name((said or {}).get("app"))),
            ("user_id", identifier((said or {}).get("user_id"))),
            ("plan", identifier((said or {}).get("plan"))),
        ):
            if value is not None:
                found.setdefault(word, value)
    return found


def _as_text(value: str | int | Decimal) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
