"""PayPal: https://developer.paypal.com/api/rest/webhooks."""

from datetime import datetime

from gatehouse.accounts import GatewayAccount
from gatehouse.errors import SettingError
from gatehouse.gateways import Credential, Verified
from gatehouse.gateways.paypal.certificates import process_certificates
from gatehouse.gateways.paypal.client import PaypalClient, client_of
from gatehouse.gateways.paypal.translate import ASKABLE, HANDLED, NAME, read_event, translate
from gatehouse.gateways.paypal.verify import Sender, verify_by_postback
from gatehouse.gateways.paypal.verify import verify as verify_by_certificate
from gatehouse.http_request import HttpRequest
from gatehouse.settings import settings

__all__ = ["ASKABLE", "CREDENTIALS", "HANDLED", "NAME", "read_event", "translate", "verify"]

CREDENTIALS = (
    Credential("webhook_id", "id of the webhook, from PayPal's dashboard", signs=True, is_secret=False),
    Credential("client_id", "client id of the app, to ask its API", is_secret=False, is_required=False),
    Credential("client_secret", "client secret of the app", is_required=False),
    Credential("verification", "certificate or postback (empty: certificate)", is_secret=False, is_required=False),
)


def verify(request: HttpRequest, account: GatewayAccount, *, now: datetime) -> Verified:
    """Return which of the account's webhook ids PayPal signed for, by certificate or, where it says so, by postback."""
    match account.more.get("verification", "certificate"):
        case "certificate":
            return verify_by_certificate(request, account, now=now, certificates=process_certificates())
        case "postback":
            return verify_by_postback(request, account, now=now, postback=lambda sender: _client(account, sender))
    raise SettingError(f"the verification of paypal/{account.account} must be certificate or postback")


def _client(account: GatewayAccount, sender: Sender) -> PaypalClient:
    return client_of(account.more, settings().paypal_api_url, "live" if sender.livemode else "test")
