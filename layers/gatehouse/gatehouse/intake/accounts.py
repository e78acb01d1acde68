"""Finds the account that a request is for: the default one in its secret, all others in the database.

The directory holds every account of one gateway and asks the database once a minute what has changed, so that a
request costs the same with five hundred accounts as with one, and a new or changed account works within a minute.
While the database is away, what is known stays in use.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from gatehouse.accounts import DEVELOPMENT_STAGES, MODES, GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.errors import ConnectionError, RequestRefused, SealBroken, SettingError, TimeoutError
from gatehouse.models import accounts as kept_accounts
from gatehouse.models.accounts import KeptAccount
from gatehouse.observability import log
from gatehouse.sealing import Keyring

DEFAULT_ACCOUNT = "default"
DEFAULT_MERCHANT = "default"
ASKED_AGAIN_AFTER_SECONDS = 45  # with the seconds of one request, within a minute
REFRESHED_AT_MOST_EVERY_SECONDS = 60  # a bad signature asks at once; anybody can send one, so not each does
OVERLAP = timedelta(seconds=30)  # changes committed late carry an earlier time than some that we saw


class AccountUnknown(RequestRefused):
    """There is no such account; where the database is away, that cannot be said for sure."""

    code = "GATEWAY_NOT_CONFIGURED"
    http_status = 404


class AccountNotReachable(ConnectionError):
    """The account is not known here, and the database that may know it is away."""


class AccountDirectory:
    """The accounts of one gateway that this process knows."""

    def __init__(
        self,
        gateway: str,
        database: Callable[[], Database],
        keyring: Callable[[], Keyring],
        default_secret: Callable[[bool], Mapping[str, Any]],
        *,
        stage: str = "local",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stage = stage
        self._gateway = gateway
        self._database = database
        self._keyring = keyring
        self._default_secret = default_secret
        self._clock = clock
        self._known: dict[str, KeptAccount] = {}
        self._newest_change: datetime | None = None
        self._asked_at = float("-inf")
        self._refreshed_at = float("-inf")

    def find(self, account: str) -> GatewayAccount:
        """Return an account; raise AccountUnknown, or AccountNotReachable while the database is away."""
        if account == DEFAULT_ACCOUNT:
            return default_account(self._gateway, self._default_secret(False), self._stage)
        unreachable: ConnectionError | TimeoutError | None = None
        if self._clock() - self._asked_at >= ASKED_AGAIN_AFTER_SECONDS:
            unreachable = self._ask()
        if account in self._known:
            return self._known[account].for_intake
        if unreachable or self._asked_at == float("-inf"):
            raise AccountNotReachable(f"{self._gateway}/{account} is not known here, and the database is away")
        raise AccountUnknown(f"there is no account {account} at {self._gateway}")

    def refreshed(self, account: str) -> GatewayAccount | None:
        """Return the account as it is now, or None when it was refreshed less than a minute ago."""
        if self._clock() - self._refreshed_at < REFRESHED_AT_MOST_EVERY_SECONDS:
            return None
        self._refreshed_at = self._clock()
        if account == DEFAULT_ACCOUNT:
            return default_account(self._gateway, self._default_secret(True), self._stage)
        return None if self._ask() else self.find(account)

    def renew(self) -> None:
        """Learn what has changed, however lately the database was asked; raise AccountNotReachable while it is away."""
        if self._ask():
            raise AccountNotReachable(f"whether an account of {self._gateway} has changed cannot be asked")

    def _ask(self) -> ConnectionError | TimeoutError | None:
        """Learn what has changed; return why it could not be asked."""
        since = self._newest_change - OVERLAP if self._newest_change else None
        try:
            changed = kept_accounts.accounts_changed_since(self._database(), since, gateway=self._gateway)
        except (ConnectionError, TimeoutError) as away:
            return away
        unopened: list[datetime] = []
        for row in changed:
            self._newest_change = max(self._newest_change or row["updated_at"], row["updated_at"])
            try:
                self._known[row["account"]] = kept_accounts.opened(self._keyring(), row)
            except SealBroken as error:  # one account that cannot be opened is no reason to refuse the others
                log.error("an account cannot be opened", error=error, account=row["account"])
                unopened.append(row["updated_at"])
        if unopened:  # its key may come later: it is asked for again until it opens
            self._newest_change = min(unopened)
        self._asked_at = self._clock()
        return None


def default_account(gateway: str, secret: Mapping[str, Any], stage: str) -> GatewayAccount:
    """Read the account of one gateway that is configured by its secret alone."""
    secrets = secret.get("signing_secrets")
    usable = tuple(each for each in secrets if isinstance(each, str) and each) if isinstance(secrets, list) else ()
    if not usable:
        raise AccountUnknown(f"no signing secret is configured for {gateway}")
    mode = secret.get("mode")
    if mode not in MODES:
        raise SettingError(f"the secret of {gateway} must say mode: {', '.join(MODES)}")
    if mode == "both" and stage not in DEVELOPMENT_STAGES:
        raise SettingError(f"the secret of {gateway} says mode both, which is for development only")
    more = {name: value for name, value in secret.items() if name not in ("signing_secrets", "mode")}
    return GatewayAccount(gateway, DEFAULT_ACCOUNT, DEFAULT_MERCHANT, mode, usable, more)
