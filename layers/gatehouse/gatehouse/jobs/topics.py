"""The kinds of work there are: which queue rings for each, how long a worker may hold it, how often it is tried."""

from secrets import SystemRandom
from typing import NamedTuple

_random = SystemRandom()  # module-level `random` would be the same in every environment restored from one snapshot

LONGEST_BACKOFF_SECONDS = 6 * 3600


class Topic(NamedTuple):
    """How the jobs of one topic are treated."""

    name: str
    queue: str  # the settings are <QUEUE>_QUEUE_URL and <QUEUE>_DLQ_URL
    lease_seconds: int  # longer than the worker's function may run
    most_attempts: int
    first_backoff_seconds: int
    longest_backoff_seconds: int = LONGEST_BACKOFF_SECONDS
    # How many of one merchant's jobs are worked on before those of others go first; None: as they come.
    fair_share: int | None = None
    changes_payments: bool = True  # so that the backup is to be told


TOPICS = {
    topic.name: topic
    for topic in (
        # A fee is there within seconds for a card and within days for a bank debit: 20 attempts are about 3 days.
        # What an event left open is there within seconds, unless the gateway is down: 12 attempts are about 9 hours.
        Topic("refetch", "enrichment", lease_seconds=90, most_attempts=12, first_backoff_seconds=10, fair_share=3),
        Topic("fetch_fee", "enrichment", lease_seconds=90, most_attempts=20, first_backoff_seconds=30, fair_share=3),
        # One that fails is planned again with the next round, so it need not be tried for long.
        Topic("reconcile", "reconciliation", lease_seconds=90, most_attempts=5, first_backoff_seconds=60),
        # Of an interrupted refund the first few attempts look for it at the gateway: 12 attempts are about 9 hours.
        Topic("send_refund", "enrichment", lease_seconds=90, most_attempts=12, first_backoff_seconds=10),
        # Steps of our own database, each of which is kept: only a defect makes it fail again and again.
        Topic("reclassify", "enrichment", lease_seconds=90, most_attempts=12, first_backoff_seconds=10),
        # An app that is down for a weekend still gets everything: 15 deliveries are about four days.
        Topic(
            "forward",
            "forwarding",
            lease_seconds=90,
            most_attempts=15,
            first_backoff_seconds=30,
            longest_backoff_seconds=24 * 3600,
            changes_payments=False,
        ),
        # Rounds of our own, each of which is kept: only a defect makes one fail again and again.
        Topic(
            "redrive",
            "forwarding",
            lease_seconds=90,
            most_attempts=12,
            first_backoff_seconds=10,
            changes_payments=False,
        ),
        # What cannot be made within these attempts, about an hour, is undone; what is to be removed is tried for days.
        *(
            Topic(
                name,
                "tenants",
                lease_seconds=90,
                most_attempts=15,
                first_backoff_seconds=2,
                longest_backoff_seconds=600,
                changes_payments=False,
            )
            for name in ("provision_tenant", "make_branch")
        ),
        *(
            Topic(
                name,
                "tenants",
                lease_seconds=90,
                most_attempts=30,
                first_backoff_seconds=5,
                changes_payments=False,
            )
            for name in ("remove_tenant", "remove_branch")
        ),
    )
}


def backoff_seconds(topic: Topic, attempts: int) -> float:
    """Return how long to wait after this many attempts: doubling, bounded, and spread by a fifth."""
    doubled = topic.first_backoff_seconds << min(attempts - 1, 20)
    return min(doubled, topic.longest_backoff_seconds) * _random.uniform(0.8, 1.2)
