"""An event that was never sent is found: the gateway lists its payment, and `gatehouse reconcile` fetches it."""

import time

import pytest

from tests.end_to_end.test_ops_commands import done, gatehouse
from tests.support.postgres import run_sql
from tests.support.stack import RunningStack, wait_until


@pytest.mark.req("G14", "G10", "O5")
def test_reconcile_finds_an_event_that_was_never_sent(running_stack: RunningStack) -> None:
    stack = running_stack
    [api] = [account.api for account in stack.supervisor.accounts if account.name == "stripe"]
    assert api
    charge = {"id": "ch_never_told", "object": "charge", "amount": 7700, "amount_captured": 7700, "currency": "eur"}
    charge |= {"captured": True, "status": "succeeded", "created": int(time.time()), "livemode": False, "metadata": {}}
    charge |= {"payment_intent": "pi_never_told", "payment_method_details": {"type": "card"}, "amount_refunded": 0}
    api.gateway.remember(charge)

    def found() -> list[list[object]]:
        return run_sql(
            stack.facts["database_url"],
            "select p.status, p.received_minor::int, p.fee_minor is not null, p.livemode from payments p"
            " join payment_objects o on o.payment_id = p.id where o.object_id = 'pi_never_told'",
        )

    assert found() == []
    first = gatehouse(stack, "reconcile", "--gateway", "stripe", "--account", "default", "--days", "1")
    assert first.returncode == 3, first.stderr
    assert "what is missing is being fetched" in first.stdout
    wait_until(found)
    assert found() == [["completed", 7700, True, False]]

    def is_complete() -> bool:
        return (
            gatehouse(stack, "reconcile", "--gateway", "stripe", "--account", "default", "--days", "1").returncode == 0
        )

    wait_until(is_complete)  # other tests of this stack leave charges that nobody told of
    shown = done(stack, "completeness", "--gateway", "stripe")
    assert "stripe/default" in shown
    assert "100 %" in shown
    refused = gatehouse(stack, "reconcile", "--gateway", "sayswitch")
    assert refused.returncode == 1
    assert "sayswitch has no list to compare with" in refused.stderr
