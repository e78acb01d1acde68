"""Paystack's webhook: POST /webhooks/paystack."""

from gatehouse.gateways import paystack
from gatehouse.intake.receive import webhook_handler

handler = webhook_handler(paystack)
