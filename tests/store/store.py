"""What the tests of the store make again and again."""

import threading
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

from gatehouse.accounts import GatewayAccount
from gatehouse.facts import Event, Fact, Need, ObjectName, PaymentFact, PaymentStatus, RefundFact, RefundStatus
from gatehouse.intake.record import Delivery
from gatehouse.models.customers import NewCustomer
from gatehouse.models.orders import NewItem, NewOrder, Numbering
from tests.intake.stories import ACCOUNT, ARRIVED, EPOCH

DEFAULT = "default"
JOHN = NewCustomer("John.Doe@example.com", "John", "Doe", "+1-555-0123")
FESTIVAL = NewOrder(
    "USD",
    event_id="alocubano-2026",
    event_name="A Lo Cubano Boulder Fest 2026",
    event_date=date(2026, 5, 15),
    tax_minor=2024,
    fee_minor=600,
    livemode=False,
)
PASSES = (NewItem("full_festival", 15000, 2, 30000, attendee_name="Jané Doe", attendee_email="Jane@Example.com"),)
TOTAL = 32624
NUMBERING = Numbering("ALB", "America/Denver")


def at_once(works: Sequence[Callable[[], Any]]) -> list[Any]:
    """Do all of it in threads that start together; return each result, or the exception that it ended in."""
    results: list[Any] = [None] * len(works)
    start = threading.Barrier(len(works))

    def run(place: int) -> None:
        start.wait()
        try:
            results[place] = works[place]()
        except Exception as failure:  # noqa: BLE001 - handed to the test, which says what it should be
            results[place] = failure

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def told(
    event: str, *facts: Fact, second: int | None = 0, needs: tuple[Need, ...] = (), account: GatewayAccount = ACCOUNT
) -> Delivery:
    """Return an event with these facts, as intake gets it."""
    at = None if second is None else EPOCH + timedelta(seconds=second)
    return Delivery(account, Event(event, "test", at, False, facts, needs), b'{"told": true}', ARRIVED)


def paid(
    name: str,
    amount_minor: int = TOTAL,
    *,
    also: Sequence[ObjectName] = (),
    refunded_minor: int | None = None,
    **words: Any,
) -> PaymentFact:
    """Return the fact of a payment that came in."""
    return PaymentFact(
        (ObjectName("payment_intent", name), *also),
        **{
            "status": PaymentStatus.COMPLETED,
            "amount_minor": amount_minor,
            "received_minor": amount_minor,
            "refunded_minor": refunded_minor,
            "currency": "USD",
            **words,
        },
    )


def refunded(name: str, payment: str, amount_minor: int, status: RefundStatus = RefundStatus.COMPLETED) -> RefundFact:
    """Return the fact of a refund of a payment."""
    return RefundFact(
        (ObjectName("refund", name),),
        payment=(ObjectName("payment_intent", payment),),
        status=status,
        amount_minor=amount_minor,
        currency="USD",
    )
