"""PayPal's webhook: POST /webhooks/paypal."""

from gatehouse.gateways import paypal
from gatehouse.intake.receive import webhook_handler

handler = webhook_handler(paypal)
