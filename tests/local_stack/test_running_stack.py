"""What the project's own template does when it runs: the stack that end-to-end tests use."""

import json
import re

import httpx
import pytest

from local.demonstration import demonstrate
from local.gateway_accounts import EVENTS
from tests.support.stack import RunningStack, wait_until

SAMPLE = EVENTS / "stripe" / "payment_intent.succeeded.json"


@pytest.mark.req("G1", "G8", "O2")
def test_an_event_is_taken_once_and_refused_with_another_secret(running_stack: RunningStack) -> None:
    event = SAMPLE.read_bytes().replace(b"evt_", b"evt_once")
    answers = [running_stack.send("stripe", event) for _ in range(2)]
    assert [(status, json.loads(words)["status"]) for status, words in answers] == [
        (200, "applied"),
        (200, "duplicate"),
    ]
    assert running_stack.send("stripe", event, secret="bad")[0] == 400


BECAME = {
    "stripe": r"payment_intent.succeeded +200 \w+ +event applied: payment \d+ completed, 46\.20 EUR, fee 1\.64 EUR",
    "paypal": r"payment.capture.completed +200 \w+ +event applied: payment \d+ completed, 30\.00 USD, fee 1\.54 USD",
    "paystack": r"charge.success +200 \w+ +event applied: payment \d+ completed, 100\.00 NGN, fee 1\.50 NGN",
    "sayswitch": r"payment.success +200 \w+ +event applied: payment \d+ completed, 10\.00 NGN, fee 0\.12 NGN",
    "mx_merchant": r"PaymentSuccess +200 \w+ +event applied: payment \d+ completed, 11\.11 USD, fee unknown yet, invoice 9.+",
}


@pytest.mark.req("G1", "G2", "G3", "G4", "G5", "G6", "G7", "G17", "O2", "R2", "R4")
def test_the_demonstration_shows_what_each_gateways_event_became(running_stack: RunningStack) -> None:
    supervisor = running_stack.supervisor
    demonstrate(supervisor.accounts, running_stack.facts, supervisor.terminal)
    *table, forwarded = running_stack.lines[-2 * len(BECAME) - 1 :]
    assert re.fullmatch(
        r"  paystack +of the app elevenone +200 applied +forwarded, signature verified, \d+ ms after receipt", forwarded
    )
    for gateway, accepted, forged in zip(BECAME, table[::2], table[1::2], strict=True):
        assert re.fullmatch(rf"  {gateway} +{BECAME[gateway]}", accepted)
        assert re.fullmatch(r" +forged +40[01] SIGNATURE_REFUSED +nothing", forged)


@pytest.mark.req("P12")
def test_health_follows_postgres_away_and_back(running_stack: RunningStack) -> None:
    address = running_stack.facts["api_url"] + "/api/health/database"
    assert httpx.get(address, timeout=20).status_code == 200
    running_stack.stop_postgres()
    try:
        assert httpx.get(address, timeout=20).status_code == 503
    finally:
        running_stack.start_postgres()
    wait_until(lambda: httpx.get(address, timeout=20).status_code == 200)
