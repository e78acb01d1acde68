"""A merchant's account at a gateway, as verification and recording need it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

MODES = ("test", "live", "both")
WRONG_MODE = "wrong mode"  # how the reason of an event begins that was ignored for it


class GatewayAccount(NamedTuple):
    """One merchant's account at one gateway."""

    gateway: str
    account: str
    merchant: str
    mode: str  # test, live or both; both is for development only
    signing_secrets: tuple[str, ...] = ()  # the current one first, then those that are on their way out
    more: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        return f"<GatewayAccount {self.gateway}/{self.account} {self.mode} {len(self.signing_secrets)} secrets>"

    def livemode_of(self, said: bool | None) -> bool:
        """Return whether an event is about real money: what it says, else what the account is for."""
        return self.mode == "live" if said is None else said

    def refuses(self, *, livemode: bool) -> str | None:
        """Say why an event of this mode does not belong to this account; None when it does."""
        if self.mode == "both" or livemode == (self.mode == "live"):
            return None
        return f"{WRONG_MODE}: a {'live' if livemode else 'test'} event at a {self.mode} account"
