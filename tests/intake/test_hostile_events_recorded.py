"""Damaged events through translation and recording: each is kept with a word for it, and stops no other."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.errors import RequestRefused
from gatehouse.gateways import NAMES, gateway_named
from gatehouse.intake.record import Delivery, Recorded, record
from gatehouse.sealing import Keyring
from tests.support.gateway_samples import ignored_samples, samples
from tests.support.mutation import mutations

COPIES = 5
ARRIVED = datetime(2026, 11, 20, 12, tzinfo=UTC)


def recorded(database: Database, keyring: Keyring, gateway: str, body: bytes, again: str = "") -> Recorded:
    """Translate a body as intake does, and record it; `again` makes another event of the same words."""
    package = gateway_named(gateway)
    event = package.translate(package.read_event(body), "default")
    event = event._replace(event_id=f"{event.event_id}{again}"[:255])
    account = GatewayAccount(gateway, "default", "default", "both")
    return record(database, Delivery(account, event, body, ARRIVED), keyring)


@pytest.mark.req("G1", "G2", "G3", "G4", "G5", "G8", "G10")
@pytest.mark.parametrize("gateway", NAMES)
def test_a_damaged_event_is_kept_and_blocks_no_other(
    gateway: str, intake: Database, ops: Database, keyring: Keyring
) -> None:
    became: Counter[str] = Counter()
    for name, path in (samples(gateway) | ignored_samples(gateway)).items():
        for damaged in mutations(path.read_bytes(), seed=f"record {gateway}/{name}", count=COPIES):
            try:
                became[recorded(intake, keyring, gateway, damaged).status] += 1
            except RequestRefused:
                became["refused"] += 1
    assert became.keys() <= {"applied", "ignored", "failed", "duplicate", "refused"}
    assert became["applied"] > 5
    reasons = ops.query("select reason from webhook_events where status = 'failed'")
    assert all(row["reason"] for row in reasons)
    for name, path in samples(gateway).items():
        genuine = recorded(intake, keyring, gateway, path.read_bytes(), again=" once more")
        assert genuine.status == "applied", (name, genuine.reason)
