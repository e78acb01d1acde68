"""When something happened. Paystack's envelope has no time, and its objects spell theirs in several ways."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gatehouse.gateways.fields import first_moment

TIMES_OF_CHANGE = ("paid_at", "paidAt", "captured_at", "expired_at", "updated_at", "updatedAt")
TIMES_OF_BIRTH = ("created_at", "createdAt")

# Only these happen when their object is made. `created_at` in `subscription.not_renew` may lie years back.
BIRTHS = ("charge.success", "create", "created", "pending")

# A payment that failed is told without its time. It cannot be earlier than its invoice, and of two facts at the same
# moment the worse word wins over `open`, while every `paid` is later: the birth puts it where it belongs.
NO_EARLIER_THAN_THEIR_BIRTH = "invoice."


def occurred_at(event_type: str, data: Mapping[str, Any]) -> datetime | None:
    """Return when an event happened, as far as its object tells."""
    birth = event_type in BIRTHS or event_type.rpartition(".")[2] in BIRTHS
    birth = birth or event_type.startswith(NO_EARLIER_THAN_THEIR_BIRTH)
    return first_moment(data, *TIMES_OF_CHANGE, *(TIMES_OF_BIRTH if birth else ()))


def born_at(data: Mapping[str, Any]) -> datetime | None:
    """Return when an object was made."""
    return first_moment(data, *TIMES_OF_BIRTH)
