"""The account that this machine has at each gateway: invented secrets, a sample event, and a stand-in for its API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local.gateway_apis import GatewayApi
from local.kept_secrets import KeptPorts, KeptSecrets
from local.mx_merchant_api import MxMerchantApi
from local.paypal_api import PaypalApi
from local.paypal_certificate import paypal_certificate
from local.paystack_api import PaystackApi
from local.sayswitch_api import SayswitchApi
from local.stripe_api import StripeApi

EVENTS = Path(__file__).resolve().parent.parent / "events"
PATIENCE_SECONDS = 1.0
MX_MERCHANT_ID = "418355562"  # the one in MX Merchant's own samples, so that they are ours


@dataclass(frozen=True)
class GatewayAccount:
    """What the functions, stack.json and the demonstration need to know of one gateway."""

    name: str
    secret: Mapping[str, Any]  # as the functions find it in Secrets Manager
    shown: Mapping[str, Any]  # what stack.json says of it, besides its webhook's URL
    sample: Path
    token: str = ""  # the end of the webhook's path, where it holds a secret
    api: GatewayApi | None = None
    settings: Mapping[str, str] = field(default_factory=dict)  # what the functions must know of the stand-in

    @property
    def parameter_prefix(self) -> str:
        """Return how the template's parameters of this gateway begin, such as MxMerchant."""
        return "".join(word.title() for word in self.name.split("_"))

    @property
    def path(self) -> str:
        """Return the path of its webhook."""
        return f"/webhooks/{self.name}" + (f"/default/{self.token}" if self.token else "")


def gateway_accounts(kept: KeptSecrets, ports: KeptPorts, folder: Path) -> list[GatewayAccount]:
    """Return the accounts of all gateways; each stand-in has its port and is not started yet."""
    return [
        _stripe(kept, ports),
        _paypal(kept, ports, folder),
        _paystack(kept, ports),
        _sayswitch(kept, ports),
        _mx_merchant(kept, ports),
    ]


def _stripe(kept: KeptSecrets, ports: KeptPorts) -> GatewayAccount:
    signing_secret = kept.token("stripe_signing_secret", "whsec_")
    api_key = kept.token("stripe_api_key", "sk_test_")
    return GatewayAccount(
        name="stripe",
        secret={"signing_secrets": [signing_secret], "api_key": api_key, "mode": "both"},
        shown={"signing_secret": signing_secret},
        sample=EVENTS / "stripe" / "payment_intent.succeeded.json",
        api=GatewayApi(StripeApi(), ports.port("stripe"), patience_seconds=PATIENCE_SECONDS),
    )


def _paypal(kept: KeptSecrets, ports: KeptPorts, folder: Path) -> GatewayAccount:
    webhook_id = kept.token("paypal_webhook_id", "WH")
    certificate = paypal_certificate(folder.resolve() / "paypal")
    app = {"client_id": kept.token("paypal_client_id", "A"), "client_secret": kept.token("paypal_client_secret", "E")}
    api = GatewayApi(
        PaypalApi(certificate.file.read_text(), **app), ports.port("paypal"), patience_seconds=PATIENCE_SECONDS
    )
    return GatewayAccount(
        name="paypal",
        secret={"signing_secrets": [webhook_id], "mode": "both", **app},
        shown={
            "webhook_id": webhook_id,
            "cert_url": api.url + PaypalApi.CERTIFICATE_PATH,
            "private_key_file": str(certificate.private_key_file),
        },
        sample=EVENTS / "paypal" / "payment.capture.completed.json",
        api=api,
        settings={
            "PAYPAL_API_URL": api.url,
            "PAYPAL_CERTIFICATE_HOST": urlsplit(api.url).netloc,
            "PAYPAL_CERTIFICATE_ROOT_FILE": str(certificate.root_file),
        },
    )


def _paystack(kept: KeptSecrets, ports: KeptPorts) -> GatewayAccount:
    secret_key = kept.token("paystack_secret_key", "sk_test_")
    api = GatewayApi(PaystackApi(), ports.port("paystack"), patience_seconds=PATIENCE_SECONDS)
    return GatewayAccount(
        name="paystack",
        secret={"signing_secrets": [secret_key], "mode": "both"},  # the same key opens its API
        shown={"secret_key": secret_key},
        sample=EVENTS / "paystack" / "charge.success.json",
        api=api,
        settings={"PAYSTACK_API_URL": api.url},
    )


def _sayswitch(kept: KeptSecrets, ports: KeptPorts) -> GatewayAccount:
    secret_key = kept.token("sayswitch_secret_key", "sk_test_")
    api = GatewayApi(SayswitchApi(), ports.port("sayswitch"), patience_seconds=PATIENCE_SECONDS)
    return GatewayAccount(
        name="sayswitch",
        secret={"signing_secrets": [secret_key], "mode": "both"},
        shown={"secret_key": secret_key},
        sample=EVENTS / "sayswitch" / "payment.success.json",
        api=api,
        settings={"SAYSWITCH_API_URL": api.url},
    )


def _mx_merchant(kept: KeptSecrets, ports: KeptPorts) -> GatewayAccount:
    token = kept.token("mx_merchant_token", "")
    consumer = {name: kept.token(f"mx_merchant_{name}", "") for name in ("consumer_key", "consumer_secret")}
    api = GatewayApi(MxMerchantApi(), ports.port("mx_merchant"), patience_seconds=PATIENCE_SECONDS)
    return GatewayAccount(
        name="mx_merchant",
        secret={"signing_secrets": [token], "merchant_id": MX_MERCHANT_ID, "mode": "both", **consumer},
        shown={"merchant_id": MX_MERCHANT_ID},
        sample=EVENTS / "mx_merchant" / "PaymentSuccess.json",
        token=token,
        api=api,
        settings={"MX_MERCHANT_API_URL": api.url},
    )
