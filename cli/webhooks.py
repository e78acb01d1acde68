"""Asks MX Merchant about many merchants at once: are the credentials taken, are the webhooks as they should be?"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

from cli.progress import Counted
from cli.target import keyring
from gatehouse.database.connection import Database
from gatehouse.errors import GatehouseError, NotFound, SettingError
from gatehouse.gateways.mx_merchant.client import client_of
from gatehouse.models.accounts import KeptAccount, list_accounts
from gatehouse.reconciliation.webhooks import Repair, mend, repair_of, webhook_url
from gatehouse.settings import settings

GATEWAY = "mx_merchant"
AT_ONCE = 8  # merchants; each has a client, and a rate, of its own


class Looked(NamedTuple):
    """What was found out about one account."""

    kept: KeptAccount
    repair: Repair | None  # None where its webhooks could not be asked for
    trouble: str = ""  # why not


def chosen_accounts(database: Database, merchant: str | None) -> list[KeptAccount]:
    """Return the accounts at MX Merchant that are switched on: of one merchant, or of all."""
    kept = [
        each
        for each in list_accounts(database, keyring(), gateway=GATEWAY)
        if merchant is None or each.row["merchant"] == merchant
    ]
    if not kept:
        raise NotFound(
            f"no account at MX Merchant{f' of {merchant}' if merchant else ''}: `gatehouse merchants import`"
        )
    active = [each for each in kept if each.row["is_active"]]
    if not active:
        raise SettingError("every one of these accounts, or its merchant, is switched off")
    return active


def public_url(given: str) -> str:
    """Return where the world reaches our webhooks; raise SettingError where nobody says it."""
    found = given or settings().public_api_url
    if not found:
        raise SettingError("PUBLIC_API_URL is not set: give --url, such as https://hooks.example.com")
    return found


def look(accounts: Sequence[KeptAccount], url: str) -> Iterator[Looked]:
    """Ask for the webhooks of accounts, several at once; yield them as they come."""
    return _each(accounts, lambda kept: Looked(kept, _repair(kept, url)), "looked at")


def subscribe(accounts: Sequence[KeptAccount], url: str) -> Iterator[Looked]:
    """Put the webhooks of accounts right, several at once; yield what was wrong with each."""

    def put_right(kept: KeptAccount) -> Looked:
        repair = _repair(kept, url)
        mend(client_of_account(kept), repair, _wanted_url(kept, url))
        return Looked(kept, repair)

    return _each(accounts, put_right, "subscribed")


def _each(accounts: Sequence[KeptAccount], work: Callable[[KeptAccount], Looked], what: str) -> Iterator[Looked]:
    counted = Counted(len(accounts), f"merchants {what}")

    def tried(kept: KeptAccount) -> Looked:
        try:
            return work(kept)
        except GatehouseError as error:  # one merchant's trouble is no other's
            return Looked(kept, None, f"{error.code}: {error}")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        begun = [pool.submit(tried, kept) for kept in accounts]
        try:
            for number, each in enumerate(as_completed(begun), start=1):
                yield each.result()
                counted.step(number)
        except BaseException:
            for each in begun:
                each.cancel()
            raise


def in_order(looked: Iterable[Looked]) -> list[Looked]:
    """Return what was found in the order of the accounts' names."""
    return sorted(looked, key=lambda each: str(each.kept.row["account"]))


def _repair(kept: KeptAccount, url: str) -> Repair:
    return repair_of(client_of_account(kept).list_notifications(), url, _wanted_url(kept, url))


def _wanted_url(kept: KeptAccount, url: str) -> str:
    return webhook_url(url, kept.row["account"], kept.credentials["signing_secrets"][0])


def client_of_account(kept: KeptAccount) -> Any:
    """Return the client of an account."""
    return client_of(kept.credentials, settings().mx_merchant_api_url, kept.row["mode"])
