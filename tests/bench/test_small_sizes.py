"""Each bench that fills its own data does so, and measures, at a size that takes a moment."""

import pytest

from bench import backup, deliveries, gateways, jobs, recording, tenants
from bench.figures import Figure
from bench.ground import Ground
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.postgres import running_server


def are_measured(figures: list[Figure]) -> bool:
    """Tell whether each figure has a value, and a floor where it has one."""
    return all(figure.value > 0 and (figure.floor is None or figure.floor > 0) for figure in figures)


@pytest.mark.req("G8")
def test_recording(ground: Ground) -> None:
    assert are_measured(recording.measured(ground, before=20, events=10, rounds=1))
    assert ground.database.sql("select count(*)::int from webhook_events") == [[2 + 20 + 4 * 10]]


@pytest.mark.req("G1", "G2", "G3", "G4", "G5")
def test_gateways(ground: Ground) -> None:
    assert are_measured(gateways.measured(ground, events=3, rounds=1))
    events = ground.database.sql("select gateway, count(*)::int from webhook_events group by 1 order by 1")
    assert dict(events) == {"stripe": 24, **dict.fromkeys(gateways.OTHERS, 6)}


@pytest.mark.req("G8", "G10")
def test_deliveries(ground: Ground) -> None:
    assert are_measured(deliveries.measured(ground, before=20, events=10, rounds=1))
    # 20 before, 10 that come again, and in two rounds of each kind 10 first ones; 20 of the inbox
    assert ground.database.sql("select count(*)::int from webhook_events") == [[20 + 10 + 4 * 10 + 2 * 10]]


@pytest.mark.req("M6")
def test_jobs(ground: Ground) -> None:
    assert are_measured(jobs.measured(ground, jobs_a_round=10, rounds=1, due=30))
    assert ground.database.sql("select count(*)::int from jobs where status = 'waiting'") == [[30]]


@pytest.mark.req("B2", "B4")
def test_backup(ground: Ground, backup_database: GatehouseDatabase) -> None:
    size = backup.Size(before=20, events=10, rounds=1, backlog=30, written=20, compared=50)
    assert are_measured(backup.measured(ground, backup_database, size))
    assert backup_database.sql("select count(*)::int from payment_services") == [[50]]


@pytest.mark.req("T1")
def test_tenants() -> None:
    with running_server() as server:
        figures = tenants.measured(server, tenants=2, queries=5, rounds=1)
    assert are_measured(figures)
    assert not figures[-1].missed  # one connection served all queries
