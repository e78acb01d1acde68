"""Is this request really from Stripe?

    Stripe-Signature: t=1700000000,v1=<hex>,v1=<hex>,v0=<hex>

A v1 is HMAC-SHA256 over "<t>.<raw body>" with the endpoint's secret, the text `whsec_…` as it stands. While a secret is
rolled there is one v1 for each. v0 is a decoy of test mode; accepting any scheme but v1 would invite a downgrade.
https://docs.stripe.com/webhooks#verify-manually
"""

from datetime import datetime

from gatehouse.accounts import GatewayAccount
from gatehouse.errors import SignatureRefused
from gatehouse.gateways import Verified
from gatehouse.gateways.hmac_hex import signer
from gatehouse.http_request import HttpRequest

TOLERANCE_SECONDS = 300
MOST_TIMESTAMP_DIGITS = 12


def verify(
    request: HttpRequest, account: GatewayAccount, *, now: datetime, tolerance_seconds: int = TOLERANCE_SECONDS
) -> Verified:
    """Return which of the account's secrets signed; raise SignatureRefused when none did, or too long ago."""
    timestamp, candidates = _parse(request.headers.get("stripe-signature", ""))
    signed = timestamp.encode() + b"." + request.body
    secret_index = signer(signed, candidates, account.signing_secrets, "sha256")
    # A timestamp ahead of our clock is accepted, as Stripe's own libraries do: only Stripe can have signed it, and
    # refusing it would lose every event while our clock is slow. Its replay is met by the event's id, not by time.
    if now.timestamp() - int(timestamp) > tolerance_seconds:
        raise SignatureRefused(f"the signature is older than {tolerance_seconds} seconds")
    return Verified(secret_index)


def _parse(header: str) -> tuple[str, list[bytes]]:
    """Return the timestamp and every v1 of a header."""
    if not header:
        raise SignatureRefused("there is no Stripe-Signature header")
    parts = [part.strip().partition("=")[::2] for part in header.split(",")]
    timestamps = [value for key, value in parts if key == "t"]
    candidates = [value.encode(errors="replace") for key, value in parts if key == "v1"]
    if len(timestamps) > 1:  # API Gateway joins a header that came twice; which half to believe is anybody's guess
        raise SignatureRefused("the Stripe-Signature header has more than one timestamp")
    if not timestamps or not _is_timestamp(timestamps[0]):
        raise SignatureRefused("the Stripe-Signature header has no timestamp")
    if not candidates:
        raise SignatureRefused("the Stripe-Signature header has no v1 signature")
    return timestamps[0], candidates


def _is_timestamp(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MOST_TIMESTAMP_DIGITS
