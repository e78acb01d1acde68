"""Which worker does the jobs of which topic of the enrichment queue."""

from collections.abc import Mapping
from functools import cache

from gatehouse.enrichment.fees import FeeClient, fetch_fee
from gatehouse.errors import SettingError
from gatehouse.gateways.stripe.client import StripeClient
from gatehouse.jobs.claim import Hopeless, Job, Outcome, Worker
from gatehouse.secrets import secret
from gatehouse.settings import settings


def workers() -> Mapping[str, Worker]:
    """Return the worker of each topic."""
    return {"fetch_fee": _fetch_fee}


def _fetch_fee(job: Job) -> Outcome:
    if job.arguments.get("gateway") != "stripe":
        return Hopeless(f"no client of {job.arguments.get('gateway')} knows fees")
    return fetch_fee(job, _stripe_client(_api_key()))


def _api_key() -> str:
    api_key = secret(settings().gateway_secret_arn).get("api_key")
    if not isinstance(api_key, str) or not api_key:
        raise SettingError("the secret of stripe has no api_key")
    return api_key


@cache
def _stripe_client(api_key: str) -> FeeClient:
    return StripeClient(api_key, settings().stripe_api_url)
