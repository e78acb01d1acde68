"""The account that this machine has at each gateway: invented secrets, a sample event, and a stand-in for its API."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.gateway_apis import Gateway, StripeApi
from local.kept_secrets import KeptSecrets

EVENTS = Path(__file__).resolve().parent.parent / "events"


@dataclass(frozen=True)
class GatewayAccount:
    """What the functions, stack.json and the demonstration need to know of one gateway."""

    name: str
    secret: Mapping[str, Any]  # as the functions find it in Secrets Manager
    shown: Mapping[str, Any]  # what stack.json says of it, besides its webhook's URL
    api: Callable[[], Gateway]
    sample: Path

    @property
    def parameter_prefix(self) -> str:
        """Return how the template's parameters of this gateway begin, such as MxMerchant."""
        return "".join(word.title() for word in self.name.split("_"))


def gateway_accounts(kept: KeptSecrets) -> list[GatewayAccount]:
    """Return the accounts of all gateways."""
    return [_stripe(kept)]


def _stripe(kept: KeptSecrets) -> GatewayAccount:
    signing_secret = kept.token("stripe_signing_secret", "whsec_")
    api_key = kept.token("stripe_api_key", "sk_test_")
    return GatewayAccount(
        name="stripe",
        secret={"signing_secrets": [signing_secret], "api_key": api_key, "mode": "both"},
        shown={"signing_secret": signing_secret},
        api=StripeApi,
        sample=EVENTS / "stripe" / "payment_intent.succeeded.json",
    )
