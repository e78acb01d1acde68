"""MX Merchant: https://developer.mxmerchant.com/docs/notifications-1."""

from gatehouse.gateways import Credential
from gatehouse.gateways.mx_merchant.translate import ASKABLE, HANDLED, NAME, read_event, translate
from gatehouse.gateways.mx_merchant.verify import verify

__all__ = ["ASKABLE", "CREDENTIALS", "HANDLED", "NAME", "read_event", "translate", "verify"]

CREDENTIALS = (
    Credential(
        "token", "token of the webhook's URL, 32 characters or more (empty: made here)", signs=True, is_made_here=True
    ),
    Credential("merchant_id", "merchantId at MX Merchant", is_secret=False),
    Credential("consumer_key", "consumer key of the API", is_secret=False, is_required=False),
    Credential("consumer_secret", "consumer secret of the API", is_required=False),
    Credential("authentication", "basic or oauth, of the API (empty: basic)", is_secret=False, is_required=False),
    Credential("access_token", "OAuth's access token (empty: fetched when needed)", is_required=False),
    Credential("access_token_secret", "secret of that token", is_required=False),
    Credential("api", "live or sandbox (empty: as the account's mode)", is_secret=False, is_required=False),
    Credential("hmac.header", "header with an HMAC of the body (empty: none)", is_secret=False, is_required=False),
    Credential("hmac.algorithm", "sha256 or sha512, of that HMAC", is_secret=False, is_required=False),
    Credential("hmac.secrets", "secret of that HMAC", is_required=False),
)
