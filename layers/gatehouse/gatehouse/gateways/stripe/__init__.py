"""Stripe: https://docs.stripe.com/webhooks."""

from gatehouse.gateways import Credential
from gatehouse.gateways.stripe.translate import ASKABLE, HANDLED, NAME, read_event, translate
from gatehouse.gateways.stripe.verify import verify

__all__ = ["ASKABLE", "CREDENTIALS", "HANDLED", "NAME", "read_event", "translate", "verify"]

CREDENTIALS = (
    Credential("signing_secret", "signing secret of the webhook endpoint (whsec_…)", signs=True),
    Credential("api_key", "API key, to ask for fees and what events leave open (rk_… or sk_…)", is_required=False),
)
