"""Which worker does the jobs of which topic of the enrichment queue."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from gatehouse.data_keys import process_keyring
from gatehouse.database.connection import database
from gatehouse.enrichment.fees import FeeClient, fetch_fee
from gatehouse.gateways.stripe.client import StripeClient
from gatehouse.intake.accounts import DEFAULT_ACCOUNT
from gatehouse.jobs.claim import Hopeless, Job, Outcome, Worker
from gatehouse.models.accounts import find_account
from gatehouse.secrets import secret
from gatehouse.settings import settings


def workers() -> Mapping[str, Worker]:
    """Return the worker of each topic."""
    return {"fetch_fee": _fetch_fee}


def _fetch_fee(job: Job) -> Outcome:
    gateway, account = job.arguments.get("gateway"), job.arguments.get("account")
    if gateway != "stripe":
        return Hopeless(f"no client of {gateway} knows fees")
    api_key = _credentials(str(gateway), str(account)).get("api_key")
    if not isinstance(api_key, str) or not api_key:
        return Hopeless(f"{gateway}/{account} has no api_key, so nobody can be asked for its fees")
    return fetch_fee(job, _stripe_client(api_key))


def _credentials(gateway: str, account: str) -> Mapping[str, Any]:
    """Return what an account keeps to talk to its gateway."""
    if account == DEFAULT_ACCOUNT:
        return secret(settings().gateway_secret_arn)
    return find_account(database(), process_keyring(), gateway, account).credentials


@lru_cache(maxsize=64)
def _stripe_client(api_key: str) -> FeeClient:
    return StripeClient(api_key, settings().stripe_api_url)
