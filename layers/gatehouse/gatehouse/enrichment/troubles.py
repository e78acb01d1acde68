"""One account's trouble at its gateway is no other's, and burns nothing.

Credentials that are refused, or missing, are noted with the account: its jobs wait, uncounted, and a quarter of an hour
later one of them tries again, or at once where the credentials are others by then. An API that fails or does not answer
is noted likewise, for seconds at first: the job that met it is tried again later as any, and meanwhile the others of
the account wait instead of spending a worker's time on the same time-outs.
"""

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from secrets import SystemRandom
from typing import Any, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.database.sql import load_statements
from gatehouse.errors import GatewayError, GatewayKeyRefused, GatewayObjectMissing, SettingError
from gatehouse.jobs.claim import Held, Job, Outcome, Postponed
from gatehouse.observability import log, metrics

sql = load_statements(Path(__file__).with_name("troubles.sql"))

REFUSED_SECONDS = 900.0  # until credentials are tried again that were refused: they may have been allowed since
MOST_REFUSED_SECONDS = 3600.0
FAILING_SECONDS = 5.0
MOST_FAILING_SECONDS = 600.0
TURN_SECONDS = 60.0  # for the job that tries again; longer than its function may run
MOST_HELD_SECONDS = 240.0  # a job looks again after that: new credentials of a default account tell nobody
FORBIDDEN = 403

_random = SystemRandom()


class AskedAccount(NamedTuple):
    """The account that a job asks for."""

    gateway: str
    account: str
    credentials: Mapping[str, Any]

    @property
    def mark(self) -> str:
        """Return what tells these credentials from others, and does not give them away."""
        said = json.dumps(dict(self.credentials), sort_keys=True, default=str)
        return sha256(b"gatehouse credentials " + said.encode()).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"<AskedAccount {self.gateway}/{self.account}>"


def asked(
    job: Job,
    asked_account: AskedAccount,
    database: Database,
    client_of: Callable[[], Any],
    work: Callable[[Any], Outcome],
) -> Outcome:
    """Let a job ask its gateway, unless its account is in trouble; note the trouble that it meets, or its end."""
    names = {"gateway": asked_account.gateway, "account": asked_account.account}
    rows = database.query(sql.find_trouble, **names)
    if rows:
        waits = rows[0]["wait_seconds"] > 0 and rows[0]["credentials_mark"] == asked_account.mark
        if waits or not database.query(
            sql.take_turn, **names, credentials_mark=asked_account.mark, seconds=str(TURN_SECONDS)
        ):
            return _held(rows[0]["kind"], rows[0]["reason"], rows[0]["wait_seconds"])
    try:
        client = client_of()
    except SettingError as missing:
        return _refused(job, asked_account, database, str(missing))
    try:
        outcome = work(client)
    except GatewayKeyRefused as refusal:
        if refusal.answered_status == FORBIDDEN and getattr(client, "forbids_single_objects", False):
            raise
        return _refused(job, asked_account, database, str(refusal))
    except GatewayObjectMissing:
        _well(rows, names, database)
        raise
    except GatewayError as failure:
        if not failure.retry_helps:
            _well(rows, names, database)
            raise
        noted = _note(job, asked_account, database, "failing", str(failure), failure.retry_after_seconds or 0.0)
        log.warning("a gateway fails; its account waits", **names, seconds=round(noted), reason=str(failure))
        return Postponed(f"{failure.code}: {failure}", failure.retry_after_seconds or 0.0)
    _well(rows, names, database)
    return outcome


def list_troubles(database: Database, gateway: str | None = None) -> list[dict[str, Any]]:
    """Return the accounts whose gateway was not asked, or did not answer, when last a job came to it."""
    return database.query(sql.list_troubles, gateway=gateway)


def _refused(job: Job, account: AskedAccount, database: Database, reason: str) -> Held:
    wait = _note(job, account, database, "refused", reason, 0.0)
    metrics.count("CredentialsRefused", gateway=account.gateway)
    log.error(
        "a gateway takes no credentials of an account; its jobs wait", gateway=account.gateway, account=account.account
    )
    return _held("refused", reason, wait)


def _note(job: Job, account: AskedAccount, database: Database, kind: str, reason: str, least_seconds: float) -> float:
    first, most = (
        (REFUSED_SECONDS, MOST_REFUSED_SECONDS) if kind == "refused" else (FAILING_SECONDS, MOST_FAILING_SECONDS)
    )
    row = database.query_one(
        sql.note_trouble,
        gateway=account.gateway,
        account=account.account,
        merchant=job.merchant,
        kind=kind,
        reason=reason[:500],
        credentials_mark=account.mark,
        first_seconds=str(first),
        most_seconds=str(most),
        least_seconds=str(least_seconds),
    )
    return float(row["wait_seconds"])


def _well(rows: list[dict[str, Any]], names: Mapping[str, str], database: Database) -> None:
    if rows:
        database.query(sql.end_trouble, **names)
        log.info("a gateway answers again; its account goes on", **names)


def _held(kind: str, reason: str, wait_seconds: float) -> Held:
    """Hold a job until its account is asked again; spread, so that they do not all come at one moment."""
    seconds = min(max(wait_seconds, 1.0), MOST_HELD_SECONDS) * _random.uniform(1.0, 1.2)
    return Held(f"{'credentials refused' if kind == 'refused' else 'the gateway fails'}: {reason}", seconds)
