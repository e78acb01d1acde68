"""The account that a request is for: its secrets, its merchant, and whether it is for test or for live money."""

from typing import Any, NamedTuple

from gatehouse.errors import RequestRefused, SettingError

DEFAULT_ACCOUNT = "default"
DEFAULT_MERCHANT = "default"
MODES = ("test", "live", "both")
WRONG_MODE = "wrong mode"  # how the reason of such an event begins


class GatewayAccount(NamedTuple):
    """One merchant's account at one gateway, as intake needs it."""

    gateway: str
    account: str
    merchant: str
    mode: str  # test, live or both; both is for development only
    signing_secrets: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<GatewayAccount {self.gateway}/{self.account} {self.mode} {len(self.signing_secrets)} secrets>"

    def refuses(self, *, livemode: bool) -> str | None:
        """Say why an event of this mode does not belong to this account; None when it does."""
        if self.mode == "both" or livemode == (self.mode == "live"):
            return None
        return f"{WRONG_MODE}: a {'live' if livemode else 'test'} event at a {self.mode} account"


def default_account(gateway: str, secret: dict[str, Any]) -> GatewayAccount:
    """Read the account of one gateway that is configured by its secret alone."""
    secrets = secret.get("signing_secrets")
    usable = tuple(each for each in secrets if isinstance(each, str) and each) if isinstance(secrets, list) else ()
    if not usable:
        raise RequestRefused(
            f"no signing secret is configured for {gateway}", code="GATEWAY_NOT_CONFIGURED", status=404
        )
    mode = secret.get("mode")
    if mode not in MODES:
        raise SettingError(f"the secret of {gateway} must say mode: {', '.join(MODES)}")
    return GatewayAccount(gateway, DEFAULT_ACCOUNT, DEFAULT_MERCHANT, mode, usable)
