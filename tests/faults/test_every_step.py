"""One event at a time, and a fault at every step of its way: whatever was answered with 200 is there, once."""

from collections.abc import Callable, Iterator

import pytest

from tests.faults import faults
from tests.faults.faults import FaultBlock, kill
from tests.faults.ground import Ground
from tests.faults.reckoning import settled
from tests.faults.sender import post
from tests.faults.stream import BEGAN, DEFAULT, SECOND, Money, StripeEvent, chance
from tests.support.proxies import TO_CLIENT, TO_SERVER

pytestmark = pytest.mark.req("G8", "G9", "G10", "P11")

FLUSH = {TO_SERVER: "PBDES", TO_CLIENT: "12TDCZ"}  # Parse, Bind, Describe, Execute, Sync, and the answers to them
STEPS = [(direction, place) for direction, codes in FLUSH.items() for place in range(len(codes))]

SQS_FAULTS: tuple[FaultBlock, ...] = (faults.sqs_away, faults.sqs_silent, faults.sqs_failing)


class Shop:
    """Sells one thing after the other; Stripe tells of each payment in one event, which leaves a job."""

    def __init__(self, ground: Ground, url: str) -> None:
        self._ground = ground
        self._url = url
        self._sold = 0

    def sell(self, account: str = DEFAULT) -> StripeEvent:
        """Return the event of a new payment."""
        self._sold += 1
        event = Money(f"step{self._sold}", BEGAN + self._sold, chance(self._sold), account).succeeded()
        self._ground.will_send([event])
        return event

    def send(self, event: StripeEvent | None = None, *, secret: str = "") -> tuple[int, str]:
        """Send an event once, a new one unless it is given; return the status and what became of it."""
        event = event or self.sell()
        status, words = post(self._url, event, secret=secret)
        if status == 200:
            self._ground.acknowledged.add(event.id)
        return status, words


@pytest.fixture(scope="module")
def shop(ground: Ground) -> Iterator[Shop]:
    """A shop whose webhook function asks after the database again at once."""
    with ground.door(DATABASE_AWAY_SECONDS="0") as url:
        yield Shop(ground, url)


@pytest.fixture(autouse=True)
def reckoned(ground: Ground, show: Callable[[object], None]) -> Iterator[None]:
    """Bring everything back after each test, and compare all that was sent so far with a run without faults."""
    yield
    reckoning = settled(ground)
    show(reckoning)
    assert reckoning.is_right, reckoning.in_full
    assert ground.acknowledged == set(ground.sent)


def test_a_cut_at_any_message_of_the_flush_costs_no_request(ground: Ground, shop: Shop) -> None:
    shop.send()
    ground.intake_link.forget()
    shop.send()
    for direction, codes in FLUSH.items():
        assert "".join(each.code for each in ground.intake_link.messages if each.direction == direction) == codes
    for name, link in (("function", ground.intake_link), ("pooler", ground.server_link)):
        for direction, place in STEPS:
            link.strike_at(direction, place, counted(ground, f"cut off the {name} at one message"))
            status, words = shop.send()
            assert (status, link.disarm()) == (200, 0), (name, direction, place)
            # The question was lost, or the answer: asking again finds out. What the pooler itself says to the server
            # before a flush is counted too, so there it may be either.
            asked = {"applied"} if direction == TO_SERVER else {"duplicate"}
            assert words in (asked if link is ground.intake_link else {"applied", "duplicate"}), (direction, place)


def test_a_second_cut_at_any_message_of_login_or_flush_leaves_the_event_in_the_inbox(
    ground: Ground, shop: Shop
) -> None:
    ground.intake_link.cut_all()
    ground.intake_link.forget()
    shop.send()
    in_all = [each.direction for each in ground.intake_link.messages]
    assert len(in_all) > len(STEPS)
    for direction in FLUSH:
        for place in range(in_all.count(direction)):
            ground.intake_link.cut_all()
            ground.intake_link.strike_at(direction, place, counted(ground, "cut off twice"), times=2)
            status, words = shop.send()
            assert status == 200, (direction, place)
            ground.intake_link.disarm()
            if place > 0:
                assert words == "queued", (direction, place)


def test_a_function_killed_at_any_step_is_answered_for_by_the_second_delivery(ground: Ground, shop: Shop) -> None:
    def die() -> None:
        kill(ground, "stripe_webhook")

    at_the_bell = [(ground.sqs_link, TO_SERVER, 0), (ground.sqs_link, TO_CLIENT, 0)]
    for link, direction, place in [*((ground.intake_link, *step) for step in STEPS), *at_the_bell]:
        shop.send()  # a function that is warm
        event = shop.sell()
        link.strike_at(direction, place, die)
        assert shop.send(event)[0] == 503, (direction, place)
        status, words = shop.send(event)
        was_committed = link is ground.sqs_link or direction == TO_CLIENT
        assert (status, words) == (200, "duplicate" if was_committed else "applied"), (direction, place)


def test_a_function_killed_beside_the_inbox_is_answered_for_by_the_second_delivery(ground: Ground, shop: Shop) -> None:
    for direction in (TO_SERVER, TO_CLIENT):
        ground.heal()
        shop.send()
        event = shop.sell()
        with faults.network_away(ground, chance(0)):
            ground.sqs_link.strike_at(direction, 0, lambda: kill(ground, "stripe_webhook"))
            assert shop.send(event)[0] == 503
            assert shop.send(event) == (200, "queued")


def test_what_a_new_function_cannot_check_is_checked_when_it_is_recorded(ground: Ground, shop: Shop) -> None:
    shop.send(shop.sell(SECOND))
    with faults.network_away(ground, chance(0)):
        kill(ground, "stripe_webhook")
        event = shop.sell(SECOND)
        assert shop.send(event)[0] == 503  # from the one that was killed
        assert shop.send(event) == (200, "queued")
        forged = Money("forged", BEGAN, chance(0), SECOND).succeeded()
        assert shop.send(forged, secret="whsec_of_a_thief") == (200, "queued")
        ground.acknowledged.remove(forged.id)  # it must leave nothing: the reckoning knows of no such event


def test_postgres_killed_in_the_flush_or_restarted_before_it_costs_no_request(ground: Ground, shop: Shop) -> None:
    for direction, place in ((TO_SERVER, 4), (TO_CLIENT, 0), (TO_CLIENT, 5)):
        shop.send()
        ground.intake_link.strike_at(direction, place, lambda: ground.server.stop("immediate"))
        assert shop.send() == (200, "queued"), (direction, place)
        ground.faults["Postgres killed"] += 1
        ground.server.start()
    with faults.postgres_stopped(ground, chance(0)):
        pass
    assert shop.send()[0] == 200
    with faults.pooler_restarted(ground, chance(0)):
        assert shop.send()[0] == 200


def test_what_recording_does_not_need_may_be_away(ground: Ground, shop: Shop) -> None:
    shop.send()
    for fault in (*SQS_FAULTS, faults.secrets_away):
        with fault(ground, chance(0)):
            assert shop.send() == (200, "applied"), fault


def test_with_postgres_and_sqs_away_the_gateway_is_asked_to_come_again(ground: Ground, shop: Shop) -> None:
    shop.send()
    event = shop.sell()
    with faults.postgres_killed(ground, chance(0)):
        for fault in SQS_FAULTS:
            with fault(ground, chance(0)):
                assert shop.send(event)[0] == 503, fault
        assert shop.send(event) == (200, "queued")


def test_a_flush_or_an_answer_that_comes_late_leaves_one_record_beside_what_waited_in_the_inbox(
    ground: Ground, shop: Shop
) -> None:
    for direction in (TO_SERVER, TO_CLIENT):
        shop.send()
        ground.intake_link.hold(direction)
        assert shop.send() == (200, "queued"), direction
        ground.intake_link.let_go()
        ground.faults["network silent"] += 1


def counted(ground: Ground, name: str) -> Callable[[], None]:
    """Return a blow that is nothing but the cut, and is counted."""

    def blow() -> None:
        ground.faults[name] += 1

    return blow
