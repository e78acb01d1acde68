"""Which worker does the jobs of which topic of the enrichment queue."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

from gatehouse.data_keys import process_keyring
from gatehouse.database.connection import database
from gatehouse.enrichment.fees import fetch_fee
from gatehouse.enrichment.refetch import refetch
from gatehouse.enrichment.refunds import RefundClient, send_refund
from gatehouse.errors import GatewayError, SettingError
from gatehouse.gateways import NAMES, gateway_named
from gatehouse.intake.accounts import DEFAULT_ACCOUNT
from gatehouse.jobs.claim import Hopeless, Job, Outcome, Worker
from gatehouse.models.accounts import find_account
from gatehouse.secrets import secret
from gatehouse.settings import settings


def workers() -> Mapping[str, Worker]:
    """Return the worker of each topic."""
    return {
        "fetch_fee": _fetch_fee,
        "refetch": lambda job: refetch(job, _client_of, process_keyring),
        "send_refund": lambda job: send_refund(job, _refund_client_of, database()),
    }


def _fetch_fee(job: Job) -> Outcome:
    gateway, account = job.arguments.get("gateway"), job.arguments.get("account")
    client = _client_of(str(gateway), str(account))
    if not hasattr(client, "payment_fee"):
        return Hopeless(f"no client of {gateway} knows fees")
    return fetch_fee(job, client)


def _client_of(gateway: str, account: str) -> Any:
    """Return the client of an account; raise GatewayError where a gateway has none."""
    if gateway not in NAMES or not getattr(gateway_named(gateway), "ASKABLE", None):
        raise GatewayError(f"no client asks {gateway}", retry_helps=False)
    credentials, mode = _credentials(gateway, account)
    client = import_module(f"gatehouse.gateways.{gateway}.client")  # here: only the gateway that is asked is imported
    return client.client_of(credentials, getattr(settings(), f"{gateway}_api_url"), mode)


class AccountClient(NamedTuple):
    """A client, the mode of its account, and whether the account and its merchant are switched on."""

    client: Any
    mode: str
    is_active: bool


def account_client(gateway: str, account: str) -> AccountClient:
    """Return the client of an account with what is known of the account."""
    client = _client_of(gateway, account)
    if account == DEFAULT_ACCOUNT:
        return AccountClient(client, _credentials(gateway, account)[1], is_active=True)
    kept = find_account(database(), process_keyring(), gateway, account).for_intake
    return AccountClient(client, kept.mode, kept.is_active)


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
