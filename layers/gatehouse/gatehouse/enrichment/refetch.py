"""Asks a gateway about an object where an event left something open; its answer is a fact, timed by the answer."""

from collections.abc import Callable
from typing import Protocol

from gatehouse.accounts import GatewayAccount
from gatehouse.database.sql import Bound, Json
from gatehouse.enrichment.answers import kept_answer, sql
from gatehouse.errors import GatewayObjectMissing
from gatehouse.gateways import Fetched
from gatehouse.gateways import refetch as refetch_need
from gatehouse.intake.record import fetched_facts
from gatehouse.jobs.claim import Done, Hopeless, Job, Outcome, Postponed
from gatehouse.sealing import Keyring


class Client(Protocol):
    """The part of a gateway's client that is asked about single objects."""

    @property
    def fetch(self) -> Callable[..., Fetched]:
        """Ask about an object by kind and id; what else the job's arguments hold are hints of what the event knew."""
        ...


def refetch(job: Job, client_of: Callable[[str, str], Client], keyring: Callable[[], Keyring]) -> Outcome:
    """Ask about the job's object and record the answer; `client_of` returns the client of a gateway's account."""
    arguments = dict(job.arguments)
    try:
        gateway, account = arguments.pop("gateway"), arguments.pop("account")
        kind, object_id = arguments.pop("kind"), arguments.pop("id")
    except KeyError as missing:
        return Hopeless(f"the job does not say its {missing}")
    try:
        fetched = client_of(gateway, account).fetch(kind, object_id, **arguments)
    except GatewayObjectMissing as missing:  # the event may be ahead of what the gateway's API shows
        return Postponed(str(missing))
    return Done(effects_of(job, gateway, account, fetched, keyring()))


def effects_of(job: Job, gateway: str, account: str, fetched: Fetched, keyring: Keyring) -> list[Bound]:
    """Return the statements that record an answer: its facts, the answer itself, sealed, and the jobs it leads to."""
    # An answer to a hint is believed and the hint is not, whatever time the hint has given itself.
    hinted_at = job.event_occurred_at if fetched.confirms is not None else None
    occurred_at = max(fetched.answered_at, hinted_at) if hinted_at else fetched.answered_at
    effects = fetched_facts(
        GatewayAccount(gateway, account, job.merchant, "both"),
        fetched.facts,
        said_by=f"job {job.id}",
        occurred_at=occurred_at,
        job_id=job.id,
        livemode=job.livemode,
    )
    for raw in fetched.answers:
        effects.append(
            kept_answer(
                keyring,
                raw,
                gateway=gateway,
                account=account,
                merchant=job.merchant,
                answered_at=fetched.answered_at,
                job_id=job.id,
            )
        )
    if fetched.confirms is not None:
        effects.append(sql.confirm_event(job_id=job.id, confirms=fetched.confirms))
    if fetched.needs:
        found = (
            refetch_need(gateway, account, ask.kind, ask.id, ask.because or f"job {job.id}") for ask in fetched.needs
        )
        needs = [{"topic": need.topic, "key": need.key, "arguments": need.arguments} for need in found]
        effects.append(sql.write_needs(merchant=job.merchant, job_id=job.id, needs=Json(needs)))
    return effects
