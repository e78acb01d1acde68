"""What recording costs on the wire: counted by a proxy, and told in the README."""

from pathlib import Path

import pytest

from gatehouse.intake.record import record
from gatehouse.sealing import Keyring
from tests.conftest import DatabaseOpener
from tests.intake.stories import Said, delivery
from tests.intake.test_merge_rules import PAID, PI
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.pgbouncer import PgBouncer
from tests.support.proxies import TO_CLIENT, TO_SERVER, CountingProxy

README = Path(__file__).parents[2] / "README.md"
SENT = {"P": "Parse", "B": "Bind", "D": "Describe", "E": "Execute", "S": "Sync"}
ANSWERED = {
    "1": "ParseComplete",
    "2": "BindComplete",
    "T": "RowDescription",
    "D": "DataRow",
    "C": "CommandComplete",
    "Z": "ReadyForQuery",
}


@pytest.mark.req("G8", "P11")
@pytest.mark.parametrize("way", ["direct", "pooled"])
def test_recording_an_event_is_one_round_trip(
    gatehouse_database: GatehouseDatabase,
    pgbouncer: PgBouncer,
    open_database: DatabaseOpener,
    keyring: Keyring,
    way: str,
) -> None:
    port = gatehouse_database.port if way == "direct" else pgbouncer.port
    with CountingProxy(port) as proxy:
        database = open_database(gatehouse_database.through(proxy.port).url("intake"))
        database.query("select 1 as warm")
        proxy.forget()
        recorded = record(database, delivery(Said("evt", 1, (PI,), PAID), "wire-"), keyring)
        assert recorded.status == "applied"
        assert proxy.round_trips == 1
        sent = " ".join(SENT[code] for code in proxy.codes(TO_SERVER))
        answered = " ".join(ANSWERED[code] for code in proxy.codes(TO_CLIENT))
    assert f"-> {sent}\n<- {answered}\n" in README.read_text()
