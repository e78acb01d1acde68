"""Brings in many merchants with their accounts at MX Merchant: all rows are checked, then all are written at once.

A row says what an account is to be. One that is so already is left alone, so the same file may be given again; a new
token becomes the first of the account's signing secrets, and the old one stays valid until it is retired.
"""

import base64
import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.database.sql import Json
from gatehouse.errors import QueryError, SettingError, TransactionConflict
from gatehouse.imports.files import Record
from gatehouse.models import accounts
from gatehouse.models.accounts import KeptAccount, sealed_credentials, sql
from gatehouse.models.admin_changes import sql as changes_sql
from gatehouse.sealing import Keyring

GATEWAY = "mx_merchant"
MADE_CHARACTERS = 48
LEAST_TOKEN_CHARACTERS = 32
MOST_NAME = 200
CHANGED_MEANWHILE = "GH004"

COLUMNS: dict[str, tuple[str, ...]] = {
    "merchant": ("tenant",),
    "name": ("merchant_name", "practice"),
    "account": ("gateway_account",),
    "environment": ("mode",),
    "merchant_id": ("mx_merchant_id", "merchantid"),
    "consumer_key": (),
    "consumer_secret": (),
    "authentication": ("auth",),
    "access_token": ("oauth_token",),
    "access_token_secret": ("oauth_token_secret",),
    "token": ("webhook_secret", "webhook_token"),
}
REQUIRED = ("merchant", "environment", "merchant_id", "consumer_key", "consumer_secret")
NAMED = {alias: name for name, aliases in COLUMNS.items() for alias in (name, *aliases)}
ENVIRONMENTS = {"sandbox": "test", "test": "test", "production": "live", "live": "live"}
AUTHENTICATIONS = ("basic", "oauth")

_MERCHANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")  # as the table asks
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # it stands in the URL
_MERCHANT_ID = re.compile(r"[0-9]{4,20}")
_CREDENTIAL = re.compile(r"[\x21-\x39\x3b-\x7e]{1,500}")  # no colon: Basic authentication parts key and secret at one
_TOKEN = re.compile(rf"[A-Za-z0-9_-]{{{LEAST_TOKEN_CHARACTERS},200}}")


class Wanted(NamedTuple):
    """What one row wants: a merchant with an account."""

    line: int
    merchant: str
    name: str
    account: str
    mode: str
    credentials: dict[str, str]  # but for the token
    token: str

    def __repr__(self) -> str:
        return f"<Wanted line {self.line}: {self.merchant} {GATEWAY}/{self.account}>"


class Wrong(NamedTuple):
    """One thing that is wrong in a file: where, and why."""

    line: int
    field: str
    reason: str


class Planned(NamedTuple):
    """What an import would do."""

    add: list[Wanted]
    change: list[tuple[Wanted, KeptAccount]]
    unchanged: int
    wrong: list[Wrong]
    new_merchants: int


def known_columns(columns: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    """Return a heading's columns by the names that we use, and those that mean nothing; raise where one is missing."""
    found: dict[str, str] = {}
    for column in columns:
        name = NAMED.get(column.lower())
        if name and name in found:
            raise SettingError(f"the columns {found[name]} and {column} both mean {name}: keep one")
        if name:
            found[name] = column
    if missing := [name for name in REQUIRED if name not in found]:
        raise SettingError(f"missing columns: {', '.join(missing)}")
    return found, [column for column in columns if column not in found.values()]


def read_wanted(records: Iterable[Record], columns: Mapping[str, str]) -> tuple[list[Wanted], list[Wrong]]:
    """Return what all rows want, and everything that is wrong with them."""
    wanted: list[Wanted] = []
    wrong: list[Wrong] = []
    for record in records:
        if record.wrong:
            wrong.append(Wrong(record.line, "the row", record.wrong))
            continue
        row = {name: str(record.values[column]).strip() for name, column in columns.items()}
        found = [Wrong(record.line, columns.get(field, field), reason) for field, reason in _wrong_in(row)]
        wrong += found
        if not found:
            wanted.append(_wanted(record.line, row))
    return wanted, [*wrong, *_doubled(wanted)]


def plan(database: Database, keyring: Keyring, wanted: list[Wanted], wrong: list[Wrong]) -> Planned:
    """Compare what is wanted with what is there; nothing is written."""
    merchants = {row["id"]: row["name"] for row in accounts.list_merchants(database)}
    kept = {each.row["account"]: each for each in accounts.list_accounts(database, keyring, gateway=GATEWAY)}
    account_of_id = {str(each.credentials.get("merchant_id")): name for name, each in kept.items()}
    token_of = {secret: name for name, each in kept.items() for secret in each.credentials["signing_secrets"]}
    planned = Planned([], [], 0, list(wrong), len({each.merchant for each in wanted} - merchants.keys()))
    unchanged = 0
    for each in wanted:
        held = kept.get(each.account)
        owner = account_of_id.get(each.credentials["merchant_id"])
        if held and held.row["merchant"] != each.merchant:
            reason = f"{each.account} is an account of the merchant {held.row['merchant']}"
            planned.wrong.append(Wrong(each.line, "account", reason))
        elif held and held.row["mode"] != each.mode:
            planned.wrong.append(Wrong(each.line, "environment", f"the account is a {held.row['mode']} account"))
        elif owner is not None and owner != each.account:
            planned.wrong.append(Wrong(each.line, "merchant_id", f"the account {owner} has it already"))
        elif each.token and token_of.get(each.token, each.account) != each.account:
            planned.wrong.append(Wrong(each.line, "token", "another account has it already"))
        elif held is None:
            planned.add.append(each)
        elif _changed(held, each) != held.credentials or merchants[each.merchant] != each.name:
            planned.change.append((each, held))
        else:
            unchanged += 1
    return planned._replace(unchanged=unchanged)


def write(database: Database, keyring: Keyring, planned: Planned, *, actor: str = "") -> None:
    """Write all of a plan, or nothing; raise TransactionConflict where an account was changed meanwhile."""
    rows = [_row(keyring, each, _new(each), None) for each in planned.add]
    rows += [_row(keyring, each, _changed(held, each), held) for each, held in planned.change]
    names = {each.merchant: each.name for each in (*planned.add, *(wanted for wanted, _ in planned.change))}
    try:
        database.flush(
            [
                changes_sql.act(actor=actor, deed=""),
                sql.save_merchants(rows=Json([{"id": merchant, "name": name} for merchant, name in names.items()])),
                sql.save_accounts(gateway=GATEWAY, rows=Json(rows), expected=len(rows)),
            ]
        )
    except QueryError as refusal:
        if refusal.sqlstate != CHANGED_MEANWHILE:
            raise
        message = "accounts were changed by somebody else just now; nothing was written, try again"
        raise TransactionConflict(message) from None


def _wrong_in(row: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Yield (field, reason) for everything that is wrong with a row; no secret is quoted."""
    for name in REQUIRED:
        if not row[name]:
            yield name, "is missing"
    if row["merchant"] and not _MERCHANT.fullmatch(row["merchant"]):
        yield "merchant", "must be 1 to 63 lower-case letters, digits, dashes or underscores"
    if len(row.get("name", "")) > MOST_NAME:
        yield "name", f"is longer than {MOST_NAME} characters"
    account = row.get("account", "")
    if (account or row["merchant"]) == "default":
        yield "account", "default lives in Secrets Manager: give it another name"
    elif account and not _ACCOUNT.fullmatch(account):
        yield "account", "must be 1 to 64 letters, digits, dashes, dots or underscores: it stands in the URL"
    if row["environment"] and row["environment"].lower() not in ENVIRONMENTS:
        yield "environment", "must be sandbox or production"
    if row["merchant_id"] and not _MERCHANT_ID.fullmatch(row["merchant_id"]):
        yield "merchant_id", "must be the number of the merchant at MX Merchant"
    for name in ("consumer_key", "consumer_secret", "access_token", "access_token_secret"):
        if row.get(name) and not _CREDENTIAL.fullmatch(row[name]):
            yield name, "holds a character that no credential has"
    if row.get("authentication", "").lower() not in ("", *AUTHENTICATIONS):
        yield "authentication", f"must be {' or '.join(AUTHENTICATIONS)}"
    if bool(row.get("access_token")) != bool(row.get("access_token_secret")):
        yield "access_token_secret", "an access token and its secret are needed together"
    if row.get("token") and not _TOKEN.fullmatch(row["token"]):
        yield "token", f"must be {LEAST_TOKEN_CHARACTERS} or more letters, digits, dashes or underscores"


def _wanted(line: int, row: Mapping[str, str]) -> Wanted:
    names = ("merchant_id", "consumer_key", "consumer_secret", "authentication", "access_token", "access_token_secret")
    credentials = {name: row[name] for name in names if row.get(name)}
    if "authentication" in credentials:
        credentials["authentication"] = credentials["authentication"].lower()
    return Wanted(
        line,
        row["merchant"],
        row.get("name") or row["merchant"],
        row.get("account") or row["merchant"],
        ENVIRONMENTS[row["environment"].lower()],
        credentials,
        row.get("token", ""),
    )


def _doubled(wanted: list[Wanted]) -> list[Wrong]:
    """Return what stands twice in a file and may be there once only."""
    found = []
    first: dict[tuple[str, str], int] = {}
    for each in wanted:
        merchant_id = each.credentials["merchant_id"]
        for named in (("account", each.account), ("merchant_id", merchant_id), ("token", each.token)):
            if named[1] and named in first:
                found.append(Wrong(each.line, named[0], f"is on line {first[named]} already"))
            first.setdefault(named, each.line)
    return found


def _new(wanted: Wanted) -> dict[str, Any]:
    return {"signing_secrets": [wanted.token or secrets.token_urlsafe(MADE_CHARACTERS)], **wanted.credentials}


def _changed(held: KeptAccount, wanted: Wanted) -> dict[str, Any]:
    """Return an account's credentials as a row wants them; what the row does not say stays."""
    signing = held.credentials["signing_secrets"]
    if wanted.token and wanted.token != signing[0]:
        signing = [wanted.token, *(old for old in signing if old != wanted.token)]
    return {**held.credentials, **wanted.credentials, "signing_secrets": signing}


def _row(keyring: Keyring, wanted: Wanted, credentials: dict[str, Any], held: KeptAccount | None) -> dict[str, Any]:
    key_id, sealed = sealed_credentials(keyring, GATEWAY, wanted.account, credentials)
    read = base64.b64encode(held.row["credentials"]).decode() if held else None
    return {
        "account": wanted.account,
        "merchant": wanted.merchant,
        "mode": wanted.mode,
        "credentials": base64.b64encode(sealed).decode(),
        "key_id": key_id,
        "credentials_read": read,
    }
