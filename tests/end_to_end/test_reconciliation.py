"""An event that was never sent is found: the gateway lists its payment, and `gatehouse reconcile` fetches it."""

import time
from datetime import UTC, datetime

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
    assert gatehouse(stack, "reconcile", "--gateway", "venmo").returncode == 2


@pytest.mark.req("G14", "G2", "G4")
@pytest.mark.parametrize("gateway", ["paypal", "sayswitch"])
def test_paypal_and_sayswitch_too_are_asked_what_no_event_told(running_stack: RunningStack, gateway: str) -> None:
    stack = running_stack
    [api] = [account.api for account in stack.supervisor.accounts if account.name == gateway]
    assert api
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    if gateway == "paypal":
        link = {"rel": "self", "href": "https://api.sandbox.paypal.com/v2/payments/captures/NEVERTOLD"}
        amount = {"currency_code": "EUR", "value": "77.00"}
        never_told: dict[str, object] = {
            "id": "NEVERTOLD",
            "status": "COMPLETED",
            "amount": amount,
            "create_time": made_at,
        }
        never_told |= {"update_time": made_at, "final_capture": True, "links": [link]}
    else:
        data = {"id": 77, "reference": "NEVERTOLD", "status": "success", "amount": "77", "requested_amount": "77"}
        never_told = {"success": True, "data": {**data, "currency": "NGN", "domain": "test", "created_at": made_at}}
    api.gateway.remember(never_told)
    command = ("reconcile", "--gateway", gateway, "--account", "default", "--days", "1")
    first = gatehouse(stack, *command)
    assert first.returncode == 3, first.stdout + first.stderr

    def found() -> list[list[object]]:
        return run_sql(
            stack.facts["database_url"],
            f"select status, received_minor::int from payments where gateway = '{gateway}'"
            " and id in (select payment_id from payment_objects where object_id = 'NEVERTOLD')",
        )

    wait_until(found)
    assert found() == [["completed", 7700]]
    wait_until(lambda: gatehouse(stack, *command).returncode == 0)
