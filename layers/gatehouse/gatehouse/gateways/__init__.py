"""The gateways. Each is a folder of the same three files:

    verify.py      is this request really from them?          pure
    translate.py   their event in our words                   pure
    client.py      questions to their API                     httpx

and offers NAME, CREDENTIALS, HANDLED, ASKABLE, verify, read_event and translate in its `__init__`. What is odd about a
gateway ends there. ASKABLE are the kinds of object names that its client can be asked about: where an event leaves
something open, the job `refetch` asks.
"""

from collections.abc import Mapping
from datetime import datetime
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

from gatehouse.facts import Fact, Need, ObjectName, PaymentStatus

NAMES = ("stripe", "paypal", "paystack", "sayswitch", "mx_merchant")
LISTING = ("stripe", "paypal", "paystack", "sayswitch", "mx_merchant")  # those whose client has listed_payments


class Verified(NamedTuple):
    """A request is genuine; which of the account's secrets said so tells when an old one can go."""

    secret_index: int


class RawAnswer(NamedTuple):
    """What a gateway's API answered about one object, whole, so that it can be kept."""

    kind: str
    object_id: str
    said: Mapping[str, Any]


class Ask(NamedTuple):
    """An object that an answer leads to, to be asked about next: by a job of its own, which may have to wait for it."""

    kind: str
    id: str
    because: str = ""  # asked about once for each reason; empty: once for each answer that leads to it


class Fetched(NamedTuple):
    """What a gateway's API said about an object when it was asked: facts, timed by the answer."""

    facts: tuple[Fact, ...]
    answered_at: datetime
    needs: tuple[Ask, ...] = ()  # what the answer leads to: the details of a payment name its invoice
    answers: tuple[RawAnswer, ...] = ()  # what is to be kept of it, sealed
    # Of an event that only hints: whether the gateway says the same as it. None where no event is to be confirmed.
    confirms: bool | None = None


class Listed(NamedTuple):
    """One payment or refund in a gateway's list, by a name that its client can be asked about."""

    name: ObjectName
    status: PaymentStatus | None  # how far the list says it has come; None where that does not show


class Credential(NamedTuple):
    """One thing that an account at a gateway needs, as `gatehouse gateways add` asks for it."""

    name: str
    words: str
    signs: bool = False  # it becomes the first of the account's signing secrets; one of each gateway's does
    is_secret: bool = True
    is_required: bool = True
    is_made_here: bool = False  # where nothing is given, we make one up


def refetch(gateway: str, account: str, kind: str, object_id: str, because: str, **hints: Any) -> Need:
    """Return the job that asks a gateway's API for an object; one for each reason (an event's id, a moment).

    `hints` are what the event knows of the object, as the client's `fetch` takes them.
    """
    known = {name: value for name, value in hints.items() if value is not None}
    arguments = {"gateway": gateway, "account": account, "kind": kind, "id": object_id, **known}
    return Need("refetch", f"{gateway}/{account}/{kind}/{object_id}/{because}", arguments)


def gateway_named(name: str) -> ModuleType:
    """Return the package of one gateway; each function imports only those it meets."""
    if name not in NAMES:
        raise ValueError(f"no gateway is named {name!r}: {', '.join(NAMES)}")
    return import_module(f"gatehouse.gateways.{name}")
