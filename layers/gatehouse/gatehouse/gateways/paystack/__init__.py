"""Paystack: https://paystack.com/docs/payments/webhooks."""

from gatehouse.gateways import Credential
from gatehouse.gateways.paystack.translate import ASKABLE, HANDLED, NAME, read_event, translate
from gatehouse.gateways.paystack.verify import verify

__all__ = ["ASKABLE", "CREDENTIALS", "HANDLED", "NAME", "read_event", "translate", "verify"]

CREDENTIALS = (Credential("secret_key", "secret key (sk_live_… or sk_test_…)", signs=True),)
