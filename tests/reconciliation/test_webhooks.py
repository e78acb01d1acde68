"""What webhooks a merchant should have, what is wrong with those that it has, and that a repair mends all of it."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.reconciliation.webhooks import EVENT_TYPES, mend, repair_of, webhook_url

PUBLIC = "https://hooks.example.com"
URL = webhook_url(PUBLIC, "acme", "t" * 40)

pytestmark = pytest.mark.req("G13")


class Registered(NamedTuple):
    """A webhook as MX Merchant has it."""

    id: str
    event_type: str
    callback_url: str
    sends_webhook: bool = True


class Gateway:
    """MX Merchant's webhooks: no two to the same address for the same events, unless somebody has made them."""

    def __init__(self, held: Sequence[Registered]) -> None:
        self.held = list(held)
        self.steps: list[str] = []

    def list_notifications(self) -> list[Registered]:
        """Return all."""
        return self.held

    def create_notification(self, event_type: str, callback_url: str) -> None:
        """Register one; a duplicate is not made."""
        self.steps.append(f"create {event_type}")
        if not any((each.event_type, each.callback_url) == (event_type, callback_url) for each in self.held):
            self.held.append(Registered(f"new {event_type}", event_type, callback_url))

    def delete_notification(self, notification_id: str) -> None:
        """Take one back."""
        self.steps.append(f"delete {notification_id}")
        self.held = [each for each in self.held if each.id != notification_id]


def test_the_address_holds_account_and_token() -> None:
    assert re.fullmatch(r"https://hooks\.example\.com/webhooks/mx_merchant/acme/t{40}", URL)
    assert webhook_url("https://hooks.example.com/", "a b", "x/y").endswith("/mx_merchant/a%20b/x%2Fy")


def test_what_leads_elsewhere_is_counted_and_left_alone() -> None:
    elsewhere = [Registered(str(n), kind, "https://old.example.com/hook") for n, kind in enumerate(EVENT_TYPES)]
    other_types = [Registered("9", "Chargeback", f"{PUBLIC}/webhooks/mx_merchant/acme/old")]
    gateway = Gateway([*elsewhere, *other_types])
    repair = repair_of(gateway.held, PUBLIC, URL)
    assert repair.strangers == 3
    assert [each.what for each in repair.findings] == ["missing"] * 3
    mend(gateway, repair, URL)
    assert set(elsewhere + other_types) < set(gateway.held)
    assert URL not in repr(repair)


def test_a_new_one_is_made_before_the_old_one_goes_so_that_no_event_is_missed() -> None:
    old = [Registered(f"old {kind}", kind, f"{PUBLIC}/webhooks/mx_merchant/acme/old") for kind in EVENT_TYPES]
    gateway = Gateway(old)
    mend(gateway, repair_of(gateway.held, PUBLIC, URL), URL)
    assert gateway.steps == [
        *(f"create {kind}" for kind in EVENT_TYPES),
        *(f"delete old {kind}" for kind in EVENT_TYPES),
    ]
    off = Gateway([Registered("off", EVENT_TYPES[0], URL, sends_webhook=False)])
    mend(off, repair_of(off.held, PUBLIC, URL), URL)
    assert off.steps[:2] == ["delete off", f"create {EVENT_TYPES[0]}"], "no second one to the same address is taken"


@settings(deadline=None, derandomize=True, database=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from((*EVENT_TYPES, "Chargeback")),
            st.sampled_from((URL, f"{URL}x", "https://elsewhere.example.com/hook")),
            st.booleans(),
        ),
        max_size=9,
    )
)
def test_whatever_there_is_one_repair_is_enough(held: list[tuple[str, str, bool]]) -> None:
    gateway = Gateway([Registered(str(number), *each) for number, each in enumerate(held)])
    mend(gateway, repair_of(gateway.held, PUBLIC, URL), URL)
    assert repair_of(gateway.held, PUBLIC, URL).findings == ()
    for kind in EVENT_TYPES:
        ours = [each for each in gateway.held if each.event_type == kind and each.callback_url.startswith(PUBLIC)]
        assert [(each.callback_url, each.sends_webhook) for each in ours] == [(URL, True)]
