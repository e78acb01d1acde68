"""Is this request really from Paystack?

    x-paystack-signature: <hex>

It is HMAC-SHA512 over the raw body with the account's secret API key, the text `sk_…` as it stands. Paystack has no
second key for webhooks: while the API key is rolled, the old and the new one are both the account's secrets.
https://paystack.com/docs/payments/webhooks#verify-event-origin
"""

from datetime import datetime

from gatehouse.accounts import GatewayAccount
from gatehouse.gateways import Verified
from gatehouse.gateways.hmac_hex import signer_of_body
from gatehouse.http_request import HttpRequest

HEADER = "x-paystack-signature"


def verify(request: HttpRequest, account: GatewayAccount, *, now: datetime) -> Verified:  # noqa: ARG001 - no time is signed
    """Return which of the account's secret keys signed the request; raise SignatureRefused when none did."""
    # A replay is met by the event's id: the same bytes are the same event.
    return Verified(signer_of_body(request, HEADER, account.signing_secrets, "sha512"))
