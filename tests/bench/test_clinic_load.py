"""The bench of the clinics' load keeps it up on a running stack, for three seconds here."""

import pytest

from bench.clinic_load import measured
from tests.support.postgres import run_sql
from tests.support.stack import RunningStack, running_stack

__all__ = ["running_stack"]


@pytest.mark.req("M5")
def test_a_few_seconds_of_load(running_stack: RunningStack) -> None:
    figures = {figure.name: figure for figure in measured(running_stack.facts, 0.05, between_looks=0.5)}

    assert figures["webhooks a minute"].value == 1000
    assert figures["payments enriched, with invoice, of those told"].value == 100
    refused = figures["webhooks not taken"].value
    told = "select count(*)::int from webhook_events where gateway = 'mx_merchant' and status = 'applied'"
    [[taken]] = run_sql(running_stack.facts["database_url"], told)
    assert 50 - refused <= taken <= 50 - refused + 20, "the first of each clinic, taken or not, is not counted"
