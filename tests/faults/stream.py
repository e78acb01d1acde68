"""What Stripe tells: payments of several kinds, each in several events, and the order in which they are delivered."""

import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, NamedTuple

from tests.support.stripe_requests import SECRET, stripe_event

BEGAN = 1_748_441_984
CURRENCIES = ("eur", "usd", "jpy", "kwd")
DELIVERED_AGAIN = 0.3  # of the events; some of these at the very moment of the first
# The merchant of each account, and the secret with which Stripe signs its events. The default account is known from
# Secrets Manager, the other one from the database, which a function that has just started may not reach.
DEFAULT, SECOND = "default", "second"
MERCHANTS = {DEFAULT: "default", SECOND: "another"}
SIGNING_SECRETS = {DEFAULT: SECRET, SECOND: "whsec_of_the_second_account"}
LATEST_SECONDS = 3.0  # how much an event may be late, which is what mixes the order


def chance(seed: int) -> Random:
    """Return what chooses amounts, orders and faults: the same for the same seed."""
    return Random(seed)  # noqa: S311 - nothing here is a secret


class StripeEvent(NamedTuple):
    """One event, as Stripe sends it."""

    id: str
    body: bytes
    account: str


class Money:
    """One payment that tells its story event by event."""

    def __init__(self, name: str, began: int, random: Random, account: str = DEFAULT) -> None:
        self.name = name
        self.account = account
        self.currency = random.choice(CURRENCIES)
        self.amount = random.randrange(100, 900_000) * 10  # whole tens, as Stripe wants them of dinars
        self._now = began
        self._told = 0

    def intent(self, type: str, **changes: Any) -> StripeEvent:
        """Tell something of the PaymentIntent."""
        shape = {
            "id": f"pi_{self.name}",
            "amount": self.amount,
            "amount_received": 0,
            "currency": self.currency,
            "status": "requires_payment_method",
            "latest_charge": None,
            "customer": f"cus_{self.name}",
            "metadata": {"order_id": f"order-{self.name}"},
            **changes,
        }
        return self._tell(f"payment_intent.{type}", shape)

    def charge(self, type: str, attempt: str = "a", **changes: Any) -> StripeEvent:
        """Tell something of one of its charges."""
        shape = {
            "id": f"ch_{self.name}{attempt}",
            "object": "charge",
            "amount": self.amount,
            "amount_captured": self.amount,
            "amount_refunded": 0,
            "captured": True,
            "currency": self.currency,
            "customer": f"cus_{self.name}",
            "metadata": {},
            "payment_intent": f"pi_{self.name}",
            "payment_method_details": {"type": "card"},
            "refunded": False,
            "status": "succeeded",
            **changes,
        }
        return self._tell(f"charge.{type}", shape)

    def succeeded(self, attempt: str = "a") -> StripeEvent:
        """Tell that the money came in."""
        charge = f"ch_{self.name}{attempt}"
        return self.intent("succeeded", status="succeeded", amount_received=self.amount, latest_charge=charge)

    def _tell(self, type: str, shape: dict[str, Any]) -> StripeEvent:
        self._now += 1
        self._told += 1
        event = stripe_event(f"evt_{self.name}_{self._told}", type, **shape)
        return StripeEvent(event["id"], json.dumps({**event, "created": self._now}).encode(), self.account)


Story = Callable[[Money], Iterator[StripeEvent]]


def card(money: Money) -> Iterator[StripeEvent]:
    """Pay at once."""
    yield money.intent("created")
    yield money.charge("succeeded")
    yield money.succeeded()
    yield money.charge("updated")


def captured_later(money: Money) -> Iterator[StripeEvent]:
    """Authorise first."""
    yield money.intent("created")
    yield money.charge("succeeded", captured=False, amount_captured=0)
    yield money.intent("amount_capturable_updated", status="requires_capture", latest_charge=f"ch_{money.name}a")
    yield money.charge("captured")
    yield money.succeeded()


def second_try(money: Money) -> Iterator[StripeEvent]:
    """Fail, then pay with another card."""
    failure = {"code": "card_declined", "message": "Your card was declined."}
    yield money.intent("created")
    yield money.charge("failed", status="failed", captured=False, failure_code="card_declined")
    yield money.intent("payment_failed", last_payment_error=failure, latest_charge=f"ch_{money.name}a")
    yield money.charge("succeeded", "b")
    yield money.succeeded("b")


def given_back(money: Money) -> Iterator[StripeEvent]:
    """Pay, and get it back in two parts."""
    yield money.charge("succeeded")
    yield money.succeeded()
    yield money.charge("refunded", amount_refunded=money.amount // 20 * 10)
    yield money.charge("refunded", amount_refunded=money.amount, refunded=True)


def cancelled(money: Money) -> Iterator[StripeEvent]:
    """Think better of it."""
    yield money.intent("created")
    yield money.intent("canceled", status="canceled", cancellation_reason="abandoned")


def known_by_two_names(money: Money) -> Iterator[StripeEvent]:
    """Speak of a charge and of an intent, and only then say that both are one money."""
    yield money.charge("succeeded", payment_intent=None)
    yield money.intent("created")
    yield money.succeeded()


def beside_the_point(money: Money) -> Iterator[StripeEvent]:
    """Say what is kept as ignored, and what is kept as failed."""
    yield money.intent("created")
    yield money.intent("invented_tomorrow")
    yield money.intent("succeeded", status="succeeded", amount_received=money.amount, currency="doubloons")


STORIES: tuple[Story, ...] = (
    card,
    captured_later,
    second_try,
    given_back,
    cancelled,
    known_by_two_names,
    beside_the_point,
)


def told(payments: int, prefix: str, random: Random) -> list[StripeEvent]:
    """Return every event of so many payments, in the order in which things happened; ids begin with the prefix."""
    events: list[StripeEvent] = []
    for number in range(payments):
        money = Money(f"{prefix}{number}", BEGAN + number, random, (DEFAULT, SECOND)[number % 2])
        events += STORIES[number % len(STORIES)](money)
    return events


class Delivery(NamedTuple):
    """One event that is to be sent, so many seconds after the stream began."""

    at_seconds: float
    event: StripeEvent


def delivered(events: Sequence[StripeEvent], seconds: float, random: Random) -> list[Delivery]:
    """Spread events over a time, out of order and some of them twice."""
    deliveries = []
    for place, event in enumerate(events):
        at = place * seconds / len(events) + random.uniform(0, LATEST_SECONDS)
        deliveries.append(Delivery(at, event))
        if random.random() < DELIVERED_AGAIN:
            deliveries.append(Delivery(at + random.choice((0.0, random.uniform(0, LATEST_SECONDS))), event))
    return sorted(deliveries, key=lambda delivery: delivery.at_seconds)
