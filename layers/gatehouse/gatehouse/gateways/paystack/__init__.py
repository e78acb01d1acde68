"""Paystack: https://paystack.com/docs/payments/webhooks."""

from gatehouse.gateways.paystack.translate import HANDLED, NAME, read_event, translate
from gatehouse.gateways.paystack.verify import verify

__all__ = ["HANDLED", "NAME", "read_event", "translate", "verify"]
