"""Stripe: https://docs.stripe.com/webhooks."""

from gatehouse.gateways.stripe.translate import HANDLED, NAME, read_event, translate
from gatehouse.gateways.stripe.verify import verify

__all__ = ["HANDLED", "NAME", "read_event", "translate", "verify"]
