"""Merchants and their accounts at the gateways, with credentials that rest sealed."""

import json
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.accounts import GatewayAccount, fingerprint
from gatehouse.database.connection import Database
from gatehouse.database.sql import load_statements
from gatehouse.errors import Conflict, DuplicateEntry, ForeignKeyViolation, NotFound, TransactionConflict
from gatehouse.models.admin_changes import written_by
from gatehouse.sealing import Keyring

sql = load_statements(Path(__file__).with_name("accounts.sql"))

Row = dict[str, Any]
ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # it stands in the webhook's address
QUIET_BEFORE_RETIRING = timedelta(hours=24)  # a gateway that still uses an old secret does so within a day


class KeptAccount(NamedTuple):
    """An account as it is kept: what may be shown of it, and its credentials, opened."""

    row: Row
    credentials: dict[str, Any]

    @property
    def for_intake(self) -> GatewayAccount:
        """Return the account as verification and recording need it."""
        more = {name: value for name, value in self.credentials.items() if name != "signing_secrets"}
        return GatewayAccount(
            self.row["gateway"],
            self.row["account"],
            self.row["merchant"],
            self.row["mode"],
            tuple(self.credentials["signing_secrets"]),
            more,
            self.row["is_active"],
        )

    def __repr__(self) -> str:
        return f"<KeptAccount {self.row['gateway']}/{self.row['account']}>"


def add_merchant(database: Database, merchant: str, name: str, *, actor: str = "") -> Row:
    """Add a merchant, or raise DuplicateEntry; without an actor, the role that logged in has done it."""
    try:
        return written_by(database, actor, sql.add_merchant(merchant=merchant, name=name))[0]
    except DuplicateEntry:
        raise DuplicateEntry(f"there is a merchant {merchant} already") from None


def list_merchants(database: Database) -> list[Row]:
    """Return all merchants with the number of their accounts."""
    return database.query(sql.list_merchants)


def look_for_merchants(
    database: Database, *, text: str | None = None, after: str | None = None, most: int = 50
) -> list[Row]:
    """Return a page of merchants by id: all, or those that have a text in id or name."""
    return database.query(sql.look_for_merchants, text=text, after=after, most=most)


def find_merchant(database: Database, merchant: str) -> Row:
    """Return a merchant, as those see it who may; raise NotFound where there is none such."""
    rows = database.flush([sql.find_merchant(merchant=merchant)], idempotent=True, merchant=merchant)[0].rows
    if not rows:
        raise NotFound("there is no such merchant")
    return rows[0]


def switch_merchant(database: Database, merchant: str, *, is_active: bool, actor: str = "") -> None:
    """Switch a merchant on or off; while it is off, its events are kept and count as nothing."""
    deed = f"merchant switched {'on' if is_active else 'off'}"
    if not written_by(database, actor, sql.switch_merchant(merchant=merchant, is_active=is_active), deed=deed):
        raise NotFound(f"there is no merchant {merchant}")


def add_account(
    database: Database,
    keyring: Keyring,
    *,
    gateway: str,
    account: str,
    merchant: str,
    mode: str,
    credentials: dict[str, Any],
    actor: str = "",
) -> None:
    """Add an account, or raise DuplicateEntry; its credentials are sealed before they leave this process."""
    key_id, sealed = sealed_credentials(keyring, gateway, account, credentials)
    try:
        added = sql.add_account(
            gateway=gateway, account=account, merchant=merchant, mode=mode, credentials=sealed, key_id=key_id
        )
        written_by(database, actor, added)
    except DuplicateEntry:
        raise DuplicateEntry(f"there is an account {gateway}/{account} already") from None
    except ForeignKeyViolation:
        raise NotFound(f"there is no merchant {merchant}") from None


def list_accounts(database: Database, keyring: Keyring, *, gateway: str | None = None) -> list[KeptAccount]:
    """Return all accounts, or those at one gateway."""
    return [opened(keyring, row) for row in accounts_changed_since(database, None, gateway=gateway)]


def look_for_accounts(
    database: Database, keyring: Keyring, *, text: str | None = None, most: int = 50
) -> list[KeptAccount]:
    """Return the first accounts by gateway: of all, or of those that have a text in account or merchant."""
    return [opened(keyring, row) for row in database.query(sql.look_for_accounts, text=text, most=most)]


def accounts_changed_since(database: Database, since: datetime | None, *, gateway: str | None = None) -> list[Row]:
    """Return the accounts that were changed since a moment, or all, with their credentials still sealed."""
    return database.query(sql.accounts_changed_since, since=since, gateway=gateway)


def opened(keyring: Keyring, row: Row) -> KeptAccount:
    """Return an account with its credentials opened; raise SealBroken or UnknownKey."""
    credentials = keyring.open(row["key_id"], row["credentials"], _belongs_to(row["gateway"], row["account"]))
    return KeptAccount(row, json.loads(credentials))


def find_account(database: Database, keyring: Keyring, gateway: str, account: str) -> KeptAccount:
    """Return one account, or raise NotFound."""
    rows = database.query(sql.find_account, gateway=gateway, account=account)
    if not rows:
        raise NotFound(f"there is no account {gateway}/{account}")
    return opened(keyring, rows[0])


def replace_credentials(
    database: Database,
    keyring: Keyring,
    kept: KeptAccount,
    credentials: dict[str, Any],
    *,
    actor: str = "",
    deed: str = "",
) -> None:
    """Put new credentials in the place of those that were read; raise TransactionConflict when they changed since."""
    gateway, account = kept.row["gateway"], kept.row["account"]
    key_id, sealed = sealed_credentials(keyring, gateway, account, credentials)
    replaced = sql.replace_credentials(
        gateway=gateway,
        account=account,
        credentials=sealed,
        key_id=key_id,
        credentials_read=kept.row["credentials"],
    )
    if not written_by(database, actor, replaced, deed=deed or "credentials changed"):
        raise TransactionConflict(
            f"{gateway}/{account} was changed by somebody else just now; look at it, then try again"
        )


def rotate_secret(database: Database, keyring: Keyring, kept: KeptAccount, new: str, *, actor: str = "") -> int:
    """Make a new signing secret the current one; return how many old ones stay valid beside it, until retired."""
    held = kept.credentials["signing_secrets"]
    if new == held[0]:
        raise Conflict("this is the current secret already")
    others = [old for old in held if old != new]
    changed = {**kept.credentials, "signing_secrets": [new, *others]}
    replace_credentials(database, keyring, kept, changed, actor=actor, deed=f"secret rotated to {fingerprint(new)}")
    return len(others)


def retire_secrets(
    database: Database, keyring: Keyring, kept: KeptAccount, *, now: datetime, force: bool, actor: str = ""
) -> int:
    """Remove the old signing secrets and return how many; raise Conflict for one that signed of late, unless forced."""
    current, *old = kept.credentials["signing_secrets"]
    if not old:
        return 0
    used = use_of_secrets(database, kept.row["gateway"], kept.row["account"], now - QUIET_BEFORE_RETIRING)
    still_used = [name for name in map(fingerprint, old) if name in used]
    if still_used and not force:
        raise Conflict(f"still in use within 24 hours: {', '.join(still_used)}")
    changed = {**kept.credentials, "signing_secrets": [current]}
    deed = f"old secrets retired: {', '.join(map(fingerprint, old))}"
    replace_credentials(database, keyring, kept, changed, actor=actor, deed=deed)
    return len(old)


def switch_account(database: Database, gateway: str, account: str, *, is_active: bool, actor: str = "") -> None:
    """Switch an account on or off; while it is off, its events are kept and count as nothing."""
    switched = sql.switch_account(gateway=gateway, account=account, is_active=is_active)
    if not written_by(database, actor, switched, deed=f"account switched {'on' if is_active else 'off'}"):
        raise NotFound(f"there is no account {gateway}/{account}")


def last_events(database: Database, gateway: str, rows: Sequence[Row]) -> dict[str, datetime]:
    """Return when each of these accounts was last told of a payment by an event; one that never was is not there."""
    found = database.query(
        sql.last_events,
        gateway=gateway,
        accounts=[row["account"] for row in rows],
        merchants=[row["merchant"] for row in rows],
    )
    return {row["account"]: row["received_at"] for row in found if row["received_at"]}


def use_of_secrets(database: Database, gateway: str, account: str, since: datetime) -> dict[str, Row]:
    """Return how often each secret has signed since a moment, by its fingerprint."""
    rows = database.query(sql.use_of_secrets, gateway=gateway, account=account, since=since)
    return {row["signed_by"]: row for row in rows}


def keys_in_use(database: Database) -> list[Row]:
    """Return what each data key still seals."""
    return database.query(sql.keys_in_use)


def sealed_credentials(keyring: Keyring, gateway: str, account: str, credentials: dict[str, Any]) -> tuple[str, bytes]:
    """Return an account's credentials as they rest: the key's id, and the sealed bytes."""
    return keyring.seal(json.dumps(credentials).encode(), _belongs_to(gateway, account))


def _belongs_to(gateway: str, account: str) -> tuple[str, ...]:
    return ("account", gateway, account)
