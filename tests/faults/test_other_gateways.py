"""Killed and cut off at every step of recording at the other gateways' doors: what was answered is there, once."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local import send
from local.gateway_accounts import GatewayAccount, gateway_accounts
from local.kept_secrets import KeptPorts, KeptSecrets
from tests.faults.faults import kill
from tests.faults.ground import Ground
from tests.faults.test_every_step import STEPS
from tests.support.gateway_samples import samples
from tests.support.proxies import TO_CLIENT

# Of each gateway one event of a payment.
EVENTS = {
    "paypal": "payment.capture.completed",
    "paystack": "charge.success__2024_ngn_metadata",
    "sayswitch": "payment.success",
    "mx_merchant": "PaymentSuccess",
}

pytestmark = pytest.mark.req("G2", "G3", "G4", "G5", "G8", "G9", "G10")


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, GatewayAccount]]:
    """The accounts that this machine would have at every gateway, their stand-ins running."""
    folder = tmp_path_factory.mktemp("accounts")
    found = {each.name: each for each in gateway_accounts(KeptSecrets(folder), KeptPorts(folder), folder)}
    for each in found.values():
        if each.api:
            each.api.start()
    yield found
    for each in found.values():
        if each.api:
            each.api.stop()


@pytest.fixture(scope="module")
def ground(accounts: dict[str, GatewayAccount]) -> Iterator[Ground]:
    """A way of events of its own, for events of other gateways alone."""
    with Ground(others=[each for name, each in accounts.items() if name != "stripe"]) as made:
        yield made


@pytest.mark.parametrize("gateway", EVENTS)
def test_killed_or_cut_off_at_any_step_an_event_is_there_once(
    gateway: str, ground: Ground, accounts: dict[str, GatewayAccount]
) -> None:
    account = accounts[gateway]
    prefix = account.parameter_prefix
    events: dict[str, bytes] = {}
    with ground.door(function_id=f"{prefix}WebhookFunction", DATABASE_AWAY_SECONDS="0", **account.settings) as url:
        facts = {"gateways": {gateway: {**account.shown, "url": url + account.path}}}

        def sent(body: bytes) -> tuple[int, str]:
            status, answer = send.send(gateway, body, facts)
            words: dict[str, Any] = json.loads(answer)
            if status == 200 and "event" in words:
                events[words["event"]] = body
            return status, str(words.get("status", ""))

        assert sent(body_of(gateway, 0)) == (200, "applied")
        for number, (direction, place) in enumerate(STEPS, start=1):
            body = body_of(gateway, number)
            assert sent(body_of(gateway, 1000 + number))[0] == 200  # a function that is warm
            ground.intake_link.strike_at(direction, place, lambda: kill(ground, f"{gateway}_webhook"))
            assert sent(body)[0] == 503, (direction, place)
            assert sent(body) == (200, "duplicate" if direction == TO_CLIENT else "applied"), (direction, place)
            ground.intake_link.strike_at(direction, place, lambda: None)  # cut off, and asked again by itself
            assert sent(body_of(gateway, 2000 + number))[0] == 200, (direction, place)
            ground.intake_link.disarm()
    standing = ground.under_faults.sql(
        "select e.event_id, e.status, count(distinct p.webhook_event_id)::int, count(f.id)::int from webhook_events e"
        " left join webhook_payloads p on p.webhook_event_id = e.id left join facts f on f.webhook_event_id = e.id"
        f" where e.gateway = '{gateway}' group by 1, 2"
    )
    assert {event_id for event_id, *_ in standing} == events.keys()
    assert len(standing) == 1 + 3 * len(STEPS)
    assert {(status, payloads) for _event, status, payloads, _facts in standing} == {("applied", 1)}
    assert len({count for *_, count in standing}) == 1  # the same words of each, none of them twice
    payments = ground.under_faults.sql(f"select count(*)::int from payments where gateway = '{gateway}'")
    assert payments == [[len(standing)]]


def body_of(gateway: str, number: int) -> bytes:
    """Return the event of a payment of its own."""
    sample = EVENTS[gateway]
    payload = json.loads(samples(gateway)[sample].read_bytes())
    if gateway == "paypal":
        payload["id"] = f"WH-STEP-{number}"
        payload["resource"]["id"] = f"{number:017d}"
        payload["resource"].pop("supplementary_data", None)
        payload["resource"]["links"] = []
    elif gateway == "mx_merchant":
        payload["id"] = f"{number + 10_000_000}"
    else:
        payload["data"]["id"] = number + 1_000_000
        payload["data"]["reference"] = f"step-{number}"
    return json.dumps(payload).encode()
