"""A merchant's account at a gateway, as verification and recording need it."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

MODES = ("test", "live", "both")
DEVELOPMENT_STAGES = ("local", "dev")  # where an account may take test and live events alike
WRONG_MODE = "wrong mode"  # how the reason of an event begins that was ignored for it
SWITCHED_OFF = "switched off"


class GatewayAccount(NamedTuple):
    """One merchant's account at one gateway."""

    gateway: str
    account: str
    merchant: str
    mode: str  # test, live or both; both is for development only
    signing_secrets: tuple[str, ...] = ()  # the current one first, then those that are on their way out
    more: Mapping[str, Any] = {}
    is_active: bool = True  # of a switched-off account or merchant, events are kept and count as nothing

    def __repr__(self) -> str:
        return f"<GatewayAccount {self.gateway}/{self.account} {self.mode} {len(self.signing_secrets)} secrets>"

    def livemode_of(self, said: bool | None) -> bool:
        """Return whether an event is about real money: what it says, else what the account is for."""
        return self.mode == "live" if said is None else said

    def refuses(self, *, livemode: bool) -> str | None:
        """Say why an event of this mode counts as nothing at this account; None when it counts."""
        if not self.is_active:
            return f"{SWITCHED_OFF}: the account {self.gateway}/{self.account} or its merchant"
        if self.mode == "both" or livemode == (self.mode == "live"):
            return None
        return f"{WRONG_MODE}: a {'live' if livemode else 'test'} event at a {self.mode} account"


def fingerprint(secret: str) -> str:
    """Return a short name for a secret, which does not give it away: to tell an old one from a new one."""
    return sha256(b"gatehouse fingerprint " + secret.encode()).hexdigest()[:8]
