"""What PayPal's resources have in common, in their old shape (v1) and their new one (v2): money, links, people, words.

A field that is missing, null or of another type says nothing. Only money that is said to have moved must be beyond
doubt: where its amount or currency makes no sense, FactRefused keeps the event as failed with the reason.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import reduce
from typing import Any, NamedTuple

from gatehouse.errors import FactRefused
from gatehouse.facts import KINDS, CustomerFact, Fact, ObjectName
from gatehouse.gateways.fields import (
    currency_code,
    identifier,
    mapping,
    minor_of_major,
    plain_metadata,
    said_for_an_app,
    text,
)
from gatehouse.money import MOST_MINOR

# https://developer.paypal.com/reference/currency-codes: PayPal takes whole forints, yen and Taiwan dollars only.
WITHOUT_DECIMALS = ("HUF", "JPY", "TWD")

# The merchant's own words, v2 and v1; the first that says something is the reference, unless it is JSON.
MERCHANTS_OWN = ("invoice_id", "custom_id", "invoice_number", "custom")

# What the last two parts of a link's path name: …/v2/checkout/orders/<id>. Links are read and never followed.
_NAME_IN_A_LINK = re.compile(r".*/([a-z]{1,20})/([A-Z0-9-]{1,255})", re.ASCII)


class Said(NamedTuple):
    """What one event says, or one answer of the API: its name, when it happened, and the resource it speaks of."""

    resource: Mapping[str, Any]
    type: str = ""  # an answer has none
    at: datetime | None = None  # nor does it say when things happened: it says how they are


class Amount(NamedTuple):
    """An amount and its currency, each None where it was not said or makes no sense."""

    minor: int | None
    currency: str | None


class Link(NamedTuple):
    """One of a resource's links to another, or to itself: the word before the id in its path, and the id."""

    rel: str
    word: str
    id: str


def iso_minor(amount: object, currency: object) -> int:
    """Return an amount as PayPal writes it in minor units of ISO 4217; raise FactRefused where it makes no sense."""
    minor = minor_of_major(amount, currency)
    if currency_code(currency) in WITHOUT_DECIMALS and isinstance(amount, (str, Decimal)) and Decimal(amount) % 1:
        raise FactRefused(f"the amount {amount} is not a whole number of {currency}")
    return minor


def amount_of(money: object, *, must_be_known: bool = False, currency: object = None) -> Amount:
    """Return an amount of v2 {value, currency_code} or of v1 {total or value, currency}; some name no currency."""
    fields = mapping(money)
    amount = fields.get("value", fields.get("total"))
    currency = fields.get("currency_code", fields.get("currency", currency))
    try:
        return Amount(iso_minor(amount, currency), currency_code(currency))
    except FactRefused:
        if must_be_known:
            raise
        return Amount(None, currency_code(currency))  # it was not said, or cannot be counted; no money depends on it


def amount_without_sign(money: object, *, must_be_known: bool = False) -> Amount:
    """Return an amount that was given back: v1 writes some of them with a minus ("-0.01") and others without."""
    fields = dict(mapping(money))
    for name in ("value", "total"):
        said = fields.get(name)
        if isinstance(said, str):
            fields[name] = said.removeprefix("-")
        elif isinstance(said, (int, Decimal)) and not isinstance(said, bool):
            fields[name] = abs(said)
    return amount_of(fields, must_be_known=must_be_known)


def required_id(value: object) -> str:
    """Return the id of a resource; raise FactRefused where it has none."""
    if (found := identifier(value)) is None:
        raise FactRefused("the resource has no id")
    return found


def sum_of(amounts: Sequence[Amount]) -> Amount:
    """Return what amounts of one currency are together; nothing where one is unknown or of another currency."""
    minors = [amount.minor for amount in amounts if amount.minor is not None]
    currencies = {amount.currency for amount in amounts}
    if not amounts or len(minors) < len(amounts) or len(currencies) > 1 or sum(minors) > MOST_MINOR:
        return Amount(None, None)
    return Amount(sum(minors), amounts[0].currency)


def things(value: object) -> list[Mapping[str, Any]]:
    """Return the JSON objects of a list; none of anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def hrefs(holder: Mapping[str, Any]) -> Iterator[str]:
    """Give the addresses of a resource's links."""
    for link in things(holder.get("links")):
        href = link.get("href")
        if isinstance(href, str):
            yield href


def links(holder: Mapping[str, Any]) -> Iterator[Link]:
    """Give what a resource's links name; PayPal writes the parent of a refund or capture nowhere else."""
    for link in things(holder.get("links")):
        href = link.get("href")
        if isinstance(href, str) and (named := _NAME_IN_A_LINK.fullmatch(href)):
            yield Link(text(link.get("rel")) or "", named[1], named[2])


def status_word(resource: Mapping[str, Any]) -> str:
    """Return a resource's own word for where it stands, in lower case: `status` in v2, `state` in v1."""
    return (text(resource.get("status")) or text(resource.get("state")) or "").lower()


def merchants_own(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the merchant said with it: reference, metadata, and what they say of an app.

    Merchants put JSON into custom_id when they have more to say than one word: then it is metadata, and no reference.
    """
    words = {name: word for name in MERCHANTS_OWN if (word := text(resource.get(name)))}
    metadata: dict[str, str] = {}
    for name in ("custom_id", "custom"):
        if parsed := plain_metadata(resource.get(name)):
            metadata |= parsed
            words.pop(name, None)
    reference = next(iter(words.values()), None)
    return {"reference": reference, "metadata": metadata | words or None, **said_for_an_app(metadata)}


def person(value: object) -> CustomerFact | None:
    """Return the customer that a payer or subscriber is, by PayPal's id of the account; None where it names none."""
    said = mapping(value)
    said = mapping(said.get("payer_info")) or said  # v1
    payer_id = identifier(said.get("payer_id")) or identifier(said.get("account_id"))
    if payer_id is None:
        return None
    return CustomerFact((ObjectName("customer", payer_id),), email=email(value), name=_name(said), phone=_phone(said))


def email(value: object) -> str | None:
    """Return the e-mail address of a payer or subscriber, who need not have an id for that."""
    said = mapping(value)
    said = mapping(said.get("payer_info")) or said
    return text(said.get("email_address")) or text(said.get("email"))


def _name(said: Mapping[str, Any]) -> str | None:
    name = mapping(said.get("name"))
    parts = (
        text(name.get("given_name")) or text(said.get("first_name")),
        text(name.get("surname")) or text(said.get("last_name")),
    )
    return text(" ".join(part for part in parts if part)) or text(name.get("full_name"))


def _phone(said: Mapping[str, Any]) -> str | None:
    number = mapping(mapping(said.get("phone")).get("phone_number")) or mapping(said.get("phone_number"))
    return text(number.get("national_number"))


def merged(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    """Return facts of which no two of one kind share a name; of those that do, the first to say a thing is believed."""
    kept: list[Fact] = []
    for fact in facts:
        same = [each for each in kept if type(each) is type(fact) and set(each.objects) & set(fact.objects)]
        place = kept.index(same[0]) if same else len(kept)
        for known in same:
            kept.remove(known)
        kept.insert(place, reduce(_joined, (*same, fact)))
    return tuple(kept)


def _joined(first: Fact, second: Fact) -> Fact:
    """Return two facts about one object as one; its status is the higher of the two steps."""
    both = {name: (said, getattr(second, name)) for name, said in first._asdict().items()}
    joined = {name: one if one not in (None, ()) else other for name, (one, other) in both.items()}
    joined["objects"] = tuple(dict.fromkeys(first.objects + second.objects))
    if steps := KINDS[type(first)].steps:
        joined["status"] = max((step for step in both["status"] if step), key=steps.index, default=None)
    return first._replace(**joined)
