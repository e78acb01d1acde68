"""A job that ends while another event of its payment is being recorded."""

import threading
import time

import pytest

from gatehouse.database.connection import Database
from gatehouse.enrichment.fees import fetch_fee
from gatehouse.facts import Need, PaymentStatus
from gatehouse.intake.record import Delivery, fetched_facts, record
from gatehouse.jobs.claim import work_on
from gatehouse.sealing import Keyring
from tests.intake.stories import ACCOUNT, Said, delivery
from tests.support.queues import Queues

PI = ("payment_intent", "pi")


class KnowsTheFee:
    """A gateway's client that answers at once."""

    def payment_fee(self, kind: str, object_id: str) -> tuple[int, str] | None:  # noqa: ARG002 - one fee for all
        return 7, "EUR"


def paid(event: str) -> Delivery:
    """Return an event that leaves the fee open, as every event of a paid payment does."""
    words = {"status": PaymentStatus.COMPLETED, "amount_minor": 10, "received_minor": 10, "currency": "EUR"}
    told = delivery(Said(event, 1, (PI,), words), "")
    arguments = {"gateway": "stripe", "account": "default", "kind": "payment_intent", "id": "pi"}
    return told._replace(event=told.event._replace(needs=(Need("fetch_fee", "stripe/default/pi", arguments),)))


@pytest.mark.req("G9", "G17")
def test_a_fee_and_a_recording_never_wait_for_each_other_in_a_ring(
    intake: Database, worker: Database, ops: Database, keyring: Keyring, queues: Queues
) -> None:
    first = record(intake, paid("first"), keyring)
    locks, _apply = fetched_facts(
        ACCOUNT, paid("second").event.facts, said_by="", occurred_at=paid("second").received_at, job_id=0
    )
    verdicts: list[str] = []
    with intake.transaction() as recording:  # the steps of a recording, one by one
        recording.flush([locks])
        fee = threading.Thread(
            target=lambda: verdicts.append(
                work_on(
                    first.jobs[0].id,
                    {"fetch_fee": lambda job: fetch_fee(job, KnowsTheFee())},
                    worker,
                    queues.bell(),
                )
            )
        )
        fee.start()
        time.sleep(0.3)
        recording.query(
            "select write_needs('default', 1, :needs) as jobs",
            needs=f'[{{"topic": "fetch_fee", "key": "{paid("second").event.needs[0].key}", "arguments": {{}}}}]',
        )
    fee.join()
    assert verdicts == ["done"]
    assert ops.query("select fee_minor from payments") == [{"fee_minor": 7}]
