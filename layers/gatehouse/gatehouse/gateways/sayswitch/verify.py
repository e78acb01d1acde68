"""Is this request really from SaySwitch?

    payloadSignature: <hex>

It is HMAC-SHA512 over the raw body with the merchant's secret key, the text `sk_…` as it stands. The sibling platform
BudPay signs otherwise (`merchantsignature`, over its public key); that is not accepted here.
https://sayswitch-documentation.vercel.app/webhooks
"""

from datetime import datetime

from gatehouse.accounts import GatewayAccount
from gatehouse.gateways import Verified
from gatehouse.gateways.hmac_hex import signer_of_body
from gatehouse.http_request import HttpRequest

HEADER = "payloadSignature"


def verify(request: HttpRequest, account: GatewayAccount, *, now: datetime) -> Verified:  # noqa: ARG001 - no time is signed
    """Return which of the account's secret keys signed the request; raise SignatureRefused when none did."""
    return Verified(signer_of_body(request, HEADER, account.signing_secrets, "sha512"))
