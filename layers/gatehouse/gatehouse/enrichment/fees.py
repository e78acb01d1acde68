"""Fetches the fee of a payment whose events do not say it; until then the fee is unknown, which is not zero."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from gatehouse.accounts import GatewayAccount
from gatehouse.errors import GatewayObjectMissing
from gatehouse.facts import ObjectName, PaymentFact
from gatehouse.intake.record import fetched_facts
from gatehouse.jobs.claim import Done, Hopeless, Job, Outcome, Postponed


class FeeClient(Protocol):
    """The part of a gateway's client that knows fees."""

    def payment_fee(self, kind: str, object_id: str) -> tuple[int, str] | None:
        """Return the fee in minor units and its currency; None while the gateway does not know it yet."""
        ...


def fetch_fee(job: Job, client: FeeClient, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Outcome:
    """Ask the gateway for a payment's fee and record it as a fact, timed by the answer."""
    try:
        gateway, account = job.arguments["gateway"], job.arguments["account"]
        kind, object_id = job.arguments["kind"], job.arguments["id"]
    except KeyError as missing:
        return Hopeless(f"the job does not say its {missing}")
    try:
        fee = client.payment_fee(kind, object_id)
    except GatewayObjectMissing as missing:  # the event may be ahead of what the gateway's API shows
        return Postponed(str(missing))
    if fee is None:
        return Postponed("the gateway does not know the fee yet")
    fee_minor, fee_currency = fee
    fact = PaymentFact(objects=(ObjectName(kind, object_id),), fee_minor=fee_minor, fee_currency=fee_currency)
    effects = fetched_facts(
        GatewayAccount(gateway, account, job.merchant, "both", ()),
        (fact,),
        said_by=f"job {job.id}",
        occurred_at=now(),
        job_id=job.id,
    )
    return Done(effects)
