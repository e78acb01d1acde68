"""Random traffic as gateways tell it: late, corrected, refunded, disputed, and two payments that turn out to be one."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from gatehouse.accounts import GatewayAccount
from gatehouse.facts import (
    DisputeFact,
    DisputeStatus,
    Event,
    Fact,
    ObjectName,
    PaymentFact,
    PaymentStatus,
    RefundFact,
    RefundStatus,
)
from gatehouse.intake.record import Delivery

FIRST = datetime(2026, 2, 26, 22, 7, tzinfo=UTC)  # over the end of a month, so that every level has an edge
GATEWAYS = ("stripe", "paypal", "paystack")
CURRENCIES = ("USD", "EUR", "JPY")
FAILURES = ("card_declined", "insufficient_funds", None)
METHODS = ("card", "bank", None)
ENDS = (DisputeStatus.WON, DisputeStatus.LOST, DisputeStatus.CLOSED)


def delivery(
    event: str,
    facts: Sequence[Fact],
    at: datetime | None,
    *,
    gateway: str = "stripe",
    merchant: str = "default",
    livemode: bool = True,
) -> Delivery:
    """Return an event with these facts, as intake gets it."""
    account = GatewayAccount(gateway, "default" if merchant == "default" else merchant, merchant, "both", ("whsec",))
    said = Event(event, "test", at, livemode, tuple(facts))
    arrived = (at or FIRST) + timedelta(seconds=30)
    return Delivery(account, said, json.dumps({"event": event}).encode(), arrived)


def stories(seed: int, payments: int, *, merchants: Sequence[str] = ("default",)) -> list[Delivery]:
    """Return the events of some payments, shuffled: each has its story, and arrives whenever it likes."""
    random = Random(seed)  # noqa: S311 - no secrets
    told = [each for number in range(payments) for each in _story(random, f"{seed}-{number}", merchants)]
    random.shuffle(told)
    return told


def _story(random: Random, name: str, merchants: Sequence[str]) -> list[Delivery]:
    where: dict[str, Any] = {
        "gateway": random.choice(GATEWAYS),
        "merchant": random.choice(merchants),
        "livemode": random.random() < 0.85,
    }
    begun = FIRST + timedelta(minutes=random.randrange(6 * 24 * 60))
    intent, charge = ObjectName("payment_intent", f"pi-{name}"), ObjectName("charge", f"ch-{name}")
    amount = random.randrange(1, 50_000)
    currency = random.choice(CURRENCIES)
    base: dict[str, Any] = {"currency": currency, "amount_minor": amount}
    method = random.choice(METHODS)
    app = random.choice(("elevenone", None))
    turns = iter(range(1, 100))
    clock = begun

    def tell(*facts: Fact, minutes: int = 0) -> Delivery:
        nonlocal clock
        clock += timedelta(minutes=minutes, milliseconds=random.randrange(1, 90_000))
        return delivery(f"evt-{name}-{next(turns)}", facts, clock, **where)

    told = [tell(PaymentFact((intent,), status=PaymentStatus.PENDING, **base))]
    fate = random.random()
    if fate < 0.2:
        words: dict[str, Any] = {"failure_code": random.choice(FAILURES), "method": method}
        told.append(tell(PaymentFact((intent,), status=PaymentStatus.FAILED, **base, **words), minutes=3))
        if fate < 0.15:
            return told
    elif fate < 0.25:
        return [*told, tell(PaymentFact((intent,), status=PaymentStatus.CANCELLED, **base), minutes=60)]
    elif fate < 0.3:
        return told
    # It comes in, first told of the charge alone: which of them belong together comes later, or never is in doubt.
    apart = random.random() < 0.3
    known = (charge,) if apart else (intent, charge)
    paid = {**base, "received_minor": amount, "method": method, "app": app}
    told.append(tell(PaymentFact(known, status=PaymentStatus.COMPLETED, **paid), minutes=random.randrange(40)))
    if apart:
        told.append(tell(PaymentFact((intent, charge)), minutes=random.randrange(20)))
    if random.random() < 0.7:
        fee_currency = "USD" if random.random() < 0.1 else currency
        fee: dict[str, Any] = {"fee_minor": amount // 30, "fee_currency": fee_currency}
        told.append(tell(PaymentFact((charge,), **fee), minutes=random.randrange(2 * 24 * 60)))
    if random.random() < 0.15:  # the gateway corrects itself
        told.append(tell(PaymentFact((charge,), received_minor=amount - 1, amount_minor=amount - 1), minutes=30))
    if random.random() < 0.35:
        told += _refunds(random, name, charge, amount, currency, tell)
    if random.random() < 0.15:
        told += _dispute(random, name, charge, amount, currency, tell)
    if random.random() < 0.05:
        told.append(tell(PaymentFact((charge,), status=PaymentStatus.REVERSED), minutes=300))
    return told


def _refunds(random: Random, name: str, charge: ObjectName, amount: int, currency: str, tell: Any) -> list[Delivery]:
    told = []
    total = 0
    for part in range(random.randrange(1, 3)):
        minor = amount // (2 + part)
        total += minor
        said: dict[str, Any] = {"amount_minor": minor, "currency": currency, "payment": (charge,)}
        names = (ObjectName("refund", f"re-{name}-{part}"),)
        told.append(tell(RefundFact(names, status=RefundStatus.PENDING, **said), minutes=random.randrange(3000)))
        status = random.choice((RefundStatus.COMPLETED, RefundStatus.COMPLETED, RefundStatus.FAILED))
        at = FIRST + timedelta(days=3, minutes=random.randrange(3000)) if random.random() < 0.5 else None
        told.append(tell(RefundFact(names, status=status, refunded_at=at, fee_minor=-3, **said), minutes=20))
    if random.random() < 0.5:  # a total at the payment, of which some may be known as a refund and some not
        told.append(tell(PaymentFact((charge,), refunded_minor=min(total + 1, amount)), minutes=30))
    return told


def _dispute(random: Random, name: str, charge: ObjectName, amount: int, currency: str, tell: Any) -> list[Delivery]:
    names = (ObjectName("dispute", f"dp-{name}"),)
    said: dict[str, Any] = {"amount_minor": amount, "currency": currency, "payment": (charge,)}
    steps = [DisputeStatus.NEEDS_RESPONSE, random.choice(ENDS)]
    return [
        tell(
            DisputeFact(names, status=step, is_withdrawn=step != DisputeStatus.WON, fee_minor=1500, **said), minutes=900
        )
        for step in steps
    ]
