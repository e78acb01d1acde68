"""Which worker does the jobs of which topic of the enrichment queue."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from gatehouse.data_keys import process_keyring
from gatehouse.database.connection import database
from gatehouse.enrichment.fees import fetch_fee
from gatehouse.enrichment.refetch import refetch
from gatehouse.enrichment.refunds import RefundClient, send_refund
from gatehouse.enrichment.troubles import AskedAccount, asked
from gatehouse.errors import GatewayError, SettingError
from gatehouse.gateways import NAMES, gateway_named
from gatehouse.intake.accounts import DEFAULT_ACCOUNT
from gatehouse.jobs.claim import Hopeless, Job, Outcome, Worker
from gatehouse.membership.reclassify import reclassify
from gatehouse.models.accounts import find_account
from gatehouse.secrets import secret
from gatehouse.settings import settings

THREADS = 5  # a batch is worked on side by side: an API that is slow to answer holds up no other job of it


def workers() -> Mapping[str, Worker]:
    """Return the worker of each topic."""
    return {
        "fetch_fee": lambda job: _asked(job, lambda client: _fee(job, client)),
        "refetch": lambda job: _asked(
            job, lambda client: refetch(job, lambda _gateway, _account: client, process_keyring)
        ),
        "send_refund": lambda job: send_refund(job, _refund_client_of, database()),
        "reclassify": lambda job: reclassify(job, database()),
    }


def _asked(job: Job, work: Callable[[Any], Outcome]) -> Outcome:
    """Let a job ask with the client of its account, unless that is in trouble."""
    gateway, account = str(job.arguments.get("gateway")), str(job.arguments.get("account"))
    if gateway not in NAMES or not getattr(gateway_named(gateway), "ASKABLE", None):
        return Hopeless(f"no client asks {gateway}")
    credentials, mode = _credentials(gateway, account)
    asked_account = AskedAccount(gateway, account, credentials)
    return asked(job, asked_account, database(), lambda: _client(gateway, credentials, mode), work)


def _fee(job: Job, client: Any) -> Outcome:
    if not hasattr(client, "payment_fee"):
        return Hopeless(f"no client of {job.arguments.get('gateway')} knows fees")
    return fetch_fee(job, client)


def _client_of(gateway: str, account: str) -> Any:
    """Return the client of an account; raise GatewayError where a gateway has none."""
    if gateway not in NAMES or not getattr(gateway_named(gateway), "ASKABLE", None):
        raise GatewayError(f"no client asks {gateway}", retry_helps=False)
    return _client(gateway, *_credentials(gateway, account))


def _client(gateway: str, credentials: Mapping[str, Any], mode: str) -> Any:
    client = import_module(f"gatehouse.gateways.{gateway}.client")  # here: only the gateway that is asked is imported
    return client.client_of(credentials, getattr(settings(), f"{gateway}_api_url"), mode)


def _refund_client_of(gateway: str, account: str) -> RefundClient:
    """Return the client of an account; raise GatewayError where it cannot refund."""
    client = _client_of(gateway, account)
    if not hasattr(client, "refund"):
        raise GatewayError(f"no client refunds at {gateway}", retry_helps=False)
    refunding: RefundClient = client
    return refunding


def _credentials(gateway: str, account: str) -> tuple[Mapping[str, Any], str]:
    """Return what an account keeps to talk to its gateway, and its mode."""
    if account == DEFAULT_ACCOUNT:
        arn = getattr(settings(), f"{gateway}_secret_arn")
        if not arn:
            raise SettingError(f"{gateway.upper()}_SECRET_ARN is not set: nobody can be asked for the default account")
        kept = secret(arn)
        return kept, str(kept.get("mode", "live"))
    found = find_account(database(), process_keyring(), gateway, account)
    return found.credentials, found.for_intake.mode
