"""Finds the account that a request is for."""

from typing import Any

from gatehouse.accounts import MODES, GatewayAccount
from gatehouse.errors import RequestRefused, SettingError

DEFAULT_ACCOUNT = "default"
DEFAULT_MERCHANT = "default"


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
