"""Fetches secrets from AWS Secrets Manager and remembers them for some minutes.

    signing_secrets = secret(settings().gateway_secret_arn)["signing_secrets"]

A rotated secret is seen after REMEMBERED_SECONDS at most, or at once with `refresh=True`. While Secrets Manager is
away, the remembered value stays in use, however old: a webhook that was checked with an hour-old secret is better than
one that was turned away.
"""

import json
import time
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from gatehouse.aws import AwsClient, credentials
from gatehouse.errors import AwsError, SecretUnavailable
from gatehouse.settings import settings

REMEMBERED_SECONDS = 300
BETWEEN_REFRESHES_SECONDS = 60  # anybody can send a bad signature; that must not become a call to AWS each time
BETWEEN_FAILURES_SECONDS = 15  # while Secrets Manager is away, only so often a request waits for its time-out
TIMEOUT_SECONDS = 2.0


class Secret(dict[str, Any]):
    """The content of one secret; its values never show."""

    def __repr__(self) -> str:
        return f"<Secret with {', '.join(sorted(map(str, self))) or 'nothing'}>"


class _Remembered(NamedTuple):
    secret: Secret
    fetched_at: float


class SecretStore:
    """The secrets that this process has fetched. Ages are told by the wall clock, which a frozen Lambda cannot stop."""

    def __init__(self, client: AwsClient, *, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._clock = clock
        self._remembered: dict[str, _Remembered] = {}
        self._refreshed_at: dict[str, float] = {}
        self._failed_at: dict[str, float] = {}

    def get(self, arn: str, *, refresh: bool = False) -> Secret:
        """Return a secret, remembered or fetched; raise SecretUnavailable when there is neither."""
        now = self._clock()
        known = self._remembered.get(arn)
        if known is None:
            return self._fetch(arn, now)
        if not self._is_due(arn, known, now, refresh=refresh):
            return known.secret
        try:
            return self._fetch(arn, now)
        except SecretUnavailable:
            self._failed_at[arn] = now
            return known.secret

    def _is_due(self, arn: str, known: _Remembered, now: float, *, refresh: bool) -> bool:
        if _is_within(now, self._failed_at.get(arn), BETWEEN_FAILURES_SECONDS):
            return False
        if not _is_within(now, known.fetched_at, REMEMBERED_SECONDS):
            return True
        if not refresh or _is_within(now, self._refreshed_at.get(arn), BETWEEN_REFRESHES_SECONDS):
            return False
        self._refreshed_at[arn] = now
        return True

    def _fetch(self, arn: str, now: float) -> Secret:
        try:
            answer = self._client.call("GetSecretValue", {"SecretId": arn}, timeout_seconds=TIMEOUT_SECONDS)
        except AwsError as reason:
            raise SecretUnavailable(f"secret {arn}: {reason}", retry_helps=reason.retry_helps) from reason
        secret = _parse(arn, answer.get("SecretString"))
        self._remembered[arn] = _Remembered(secret, now)
        return secret


@cache
def secrets() -> SecretStore:
    """Return the process-wide store."""
    endpoint = settings().aws_endpoint_url_secrets_manager or settings().aws_endpoint_url
    return SecretStore(
        AwsClient("secretsmanager", region=settings().aws_region, endpoint_url=endpoint, credentials=credentials)
    )


def secret(arn: str, *, refresh: bool = False) -> Secret:
    """Return a secret of Secrets Manager; `refresh` asks again now, at most once a minute."""
    return secrets().get(arn, refresh=refresh)


def _is_within(now: float, then: float | None, seconds: float) -> bool:
    return then is not None and 0 <= now - then < seconds  # a clock that was set back makes nothing young


def _parse(arn: str, content: object) -> Secret:
    try:
        parsed = json.loads(content) if isinstance(content, str) else None
    except ValueError:
        parsed = None  # and no `from`: the parser's error carries the content
    if not isinstance(parsed, dict):
        raise SecretUnavailable(f"secret {arn}: its content is not a JSON object", retry_helps=False)
    return Secret(parsed)
