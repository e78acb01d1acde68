"""MX Merchant's webhook: POST /webhooks/mx_merchant/{account}/{token}."""

from gatehouse.gateways import mx_merchant
from gatehouse.intake.receive import webhook_handler

handler = webhook_handler(mx_merchant)
