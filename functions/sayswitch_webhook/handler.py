"""SaySwitch's webhook: POST /webhooks/sayswitch."""

from gatehouse.gateways import sayswitch
from gatehouse.intake.receive import webhook_handler

handler = webhook_handler(sayswitch)
