"""MX Merchant: https://developer.mxmerchant.com/docs/notifications-1."""

from gatehouse.gateways.mx_merchant.translate import HANDLED, NAME, read_event, translate
from gatehouse.gateways.mx_merchant.verify import verify

__all__ = ["HANDLED", "NAME", "read_event", "translate", "verify"]
