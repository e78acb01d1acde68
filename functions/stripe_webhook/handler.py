"""Stripe's webhook: POST /webhooks/stripe."""

from gatehouse.gateways import stripe
from gatehouse.intake.receive import webhook_handler

handler = webhook_handler(stripe)
