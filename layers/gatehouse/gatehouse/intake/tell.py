"""Tells facts as the database's `apply_facts` reads them: whose, at which step, the words said, the links to others."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from gatehouse.accounts import GatewayAccount
from gatehouse.errors import FactRefused
from gatehouse.facts import KINDS, Fact, ObjectName, PaymentFact, SubscriptionFact
from gatehouse.gateways import gateway_named
from gatehouse.scrub import scrub

# What a fact speaks of besides its own object. Its lock is taken too: what hangs on it must not change meanwhile.
_REFERENCES = {"customer_ref": "customer", "subscription_ref": "subscription", "invoice_ref": "invoice"}
# Ids, references and phone numbers stay as they are: one of digits may look like a card's, and without it nothing finds
# its row, its order or its owner again.
AS_THEY_ARE = frozenset(
    (
        *_REFERENCES,
        *("batch_ref", "destination", "payment", "reference", "number", "invoice_number", "plan", "user_id", "phone"),
    )
)
_NO_WORDS = frozenset(("objects",))
_KIND_OF = {kind: known.name for kind, known in KINDS.items()}
_ORDER = {kind: place for place, kind in enumerate(KINDS)}
_WORDS = {kind: tuple(name for name in kind._fields if name not in _NO_WORDS) for kind in KINDS}
# A status that does not climb a ladder is decided by time; of two at the same second nobody can tell the newer one.
_CLIMBING = frozenset(("payment", "refund", "payout"))


class ToldFacts(NamedTuple):
    """Facts in the words of the database, and every name that they speak of."""

    facts: dict[str, list[dict[str, Any]]]  # {"payments": […], "others": […]}
    names: tuple[str, ...]


NOTHING_TOLD = ToldFacts({}, ())


def told_facts(account: GatewayAccount, facts: tuple[Fact, ...], *, livemode: bool | None) -> ToldFacts:
    """Return the facts of one event, told; raise FactRefused when two of them claim the same object."""
    if not facts:
        return NOTHING_TOLD
    askable: frozenset[str] = getattr(gateway_named(account.gateway), "ASKABLE", frozenset())
    payments, others = _parted(facts)
    payments = _with_payments_of(others, payments)
    others.sort(key=lambda fact: (_ORDER[type(fact)], fact.objects))
    _require_different_objects(payments, others)
    told = {
        "payments": [_told(fact, livemode, askable) for fact in payments],
        "others": [_told(fact, livemode, askable) for fact in others],
    }
    logged = next((each for each in (*told["payments"], *told["others"]) if _is_a_transaction(each)), None)
    if logged:
        logged["is_logged"] = True
    return ToldFacts(told, tuple(_names(payments, others)))


def _parted(facts: Iterable[Fact]) -> tuple[list[PaymentFact], list[Any]]:
    payments: list[PaymentFact] = []
    others: list[Any] = []
    for fact in facts:
        if isinstance(fact, PaymentFact):
            payments.append(fact)
        else:
            others.append(fact)
    return payments, others


def _with_payments_of(others: list[Any], payments: list[PaymentFact]) -> list[PaymentFact]:
    """Return the payments, and those that the other facts speak of: a refund that comes first makes its payment."""
    found = list(payments)
    for fact in others:
        names: tuple[ObjectName, ...] = getattr(fact, "payment", ())
        if not names:
            continue
        subscription = fact.objects[0].id if isinstance(fact, SubscriptionFact) else None
        place = next((place for place, known in enumerate(found) if not set(known.objects).isdisjoint(names)), None)
        if place is None:
            found.append(PaymentFact(objects=names, subscription_ref=subscription))
        else:
            known = found[place]
            found[place] = known._replace(
                objects=tuple(dict.fromkeys((*known.objects, *names))),
                subscription_ref=known.subscription_ref or subscription,
            )
    return found


def _require_different_objects(payments: list[PaymentFact], others: list[Any]) -> None:
    claimed: set[tuple[str, ObjectName]] = set()
    for fact in (*payments, *others):
        for name in fact.objects:
            claim = (_KIND_OF[type(fact)], name)
            if claim in claimed:
                raise FactRefused(f"two facts of one event speak of {name.kind} {name.id}")
            claimed.add(claim)


def _told(fact: Fact, livemode: bool | None, askable: frozenset[str]) -> dict[str, Any]:
    kind = type(fact)
    name = _KIND_OF[kind]
    words = {word: value for word in _WORDS[kind] if (value := getattr(fact, word)) not in (None, ())}
    ids = {word: words.pop(word) for word in AS_THEY_ARE & words.keys()}
    words = scrub(words) | ids
    if livemode is not None:
        words["livemode"] = livemode
    steps = KINDS[kind].steps
    told: dict[str, Any] = {
        "kind": name,
        "rank": steps.index(status) + 1 if (status := getattr(fact, "status", None)) else 0,
        "words": words,
        "objects": [_named(each) for each in fact.objects],
    }
    if name != "payment":
        words["gateway_id"] = fact.objects[0].id
        if "payment" in words:
            words["payment"] = [_named(each) for each in words["payment"]]
        asked = next((each for each in fact.objects if each.kind in askable), None)
        if asked and name not in _CLIMBING and steps:
            told["ask"] = _named(asked)
    return told


def _named(name: ObjectName) -> dict[str, str]:
    return {"kind": name.kind, "id": name.id}


def _is_a_transaction(told: dict[str, Any]) -> bool:
    return "status" in told["words"] and told["kind"] in ("payment", "subscription")


def _names(payments: list[PaymentFact], others: list[Any]) -> Iterable[str]:
    """Yield every name that the facts speak of, their own and those of what they hang on."""
    for fact in (*payments, *others):
        for name in fact.objects:
            yield f"{name.kind}/{name.id}"
        for word, kind in _REFERENCES.items():
            if reference := getattr(fact, word, None):
                yield f"{kind}/{reference}"
