"""Which apps are told of an event: decided in the flush that records it."""

import json
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.errors import HeaderRefused, SettingError, TargetRefused
from gatehouse.facts import CustomerFact, ObjectName, PaymentFact, SubscriptionFact, SubscriptionStatus
from gatehouse.forwarding.app_rows import find_app, keep_environment_url, opened, set_up
from gatehouse.forwarding.loops import HOP, HOP_HEADER
from gatehouse.gateways import stripe
from gatehouse.intake.receive import receive
from gatehouse.settings import load
from tests.cli.test_explain import tell
from tests.forwarding.story import ROOT, Story
from tests.intake.linked_stories import PAID
from tests.intake.test_receive import MakeDesk, make_desk
from tests.support.stripe_requests import api_request, stripe_event
from tests.template import rules
from tests.template.expansion import our_template

__all__ = ["make_desk"]
URL = "https://app.example.com/hooks"


def told(story: Story) -> list[str]:
    """Return the apps that are to be told, of each event in the order of their recording."""
    return [job["arguments"]["app"] for job in story.jobs()]


def listen(story: Story, app: str, **settings: Any) -> None:
    """Give an app an address."""
    set_up(story.ops, story.keyring, "default", app, {"target_url": URL, **settings})


@pytest.mark.req("B7")
@pytest.mark.parametrize(
    ("takes", "is_told"),
    [
        ({}, True),
        ({"gateways": ["paystack"]}, True),
        ({"gateways": ["stripe"]}, False),
        ({"types": ["charge.*"]}, True),
        ({"types": ["charge_success"]}, False),  # the pattern of LIKE is no pattern here
        ({"types": ["refund.*", "charge.success"]}, True),
        ({"types": ["*.failed"]}, False),
        ({"types": []}, False),
        ({"currencies": ["NGN"]}, True),
        ({"currencies": ["USD"]}, False),
        ({"least_minor": 4620}, True),
        ({"least_minor": 4621}, False),
        ({"most_minor": 4620}, True),
        ({"most_minor": 4619}, False),
    ],
)
def test_an_app_is_told_what_it_takes(story: Story, takes: dict[str, Any], is_told: bool) -> None:
    listen(story, "elevenone", takes=takes)
    story.charge(amount=4620, requested_amount=4620, currency="NGN")
    assert told(story) == (["elevenone"] if is_told else [])


@pytest.mark.req("B7")
def test_several_apps_are_told_of_one_event_and_a_duplicate_tells_nobody(story: Story) -> None:
    listen(story, "elevenone")
    listen(story, "nexai", takes={"every_app": True})
    body, recorded = story.charge()
    assert len([job for job in recorded.jobs if job.topic == "forward"]) == 2
    assert story.event("paystack", body).status == "duplicate"
    assert told(story) == ["elevenone", "nexai"]


@pytest.mark.req("R1", "B7")
def test_a_refund_goes_to_the_app_of_its_payment(story: Story) -> None:
    listen(story, "elevenone")
    payload = json.loads((ROOT / "events" / "paystack" / "refund.processed__of_the_2024_charge.json").read_bytes())
    story.charge(reference=payload["data"]["transaction_reference"])
    story.event("paystack", json.dumps(payload).encode())
    assert told(story) == ["elevenone", "elevenone"]


@pytest.mark.req("R1", "R7")
def test_what_turns_out_to_belong_to_another_app_is_told_to_that_one_too(story: Story) -> None:
    listen(story, "elevenone")
    listen(story, "nexai")
    paid: PaymentFact = PAID._replace(objects=(ObjectName("charge", "ch"),), customer_ref="cus")
    tell(story.intake, story.keyring, "evt_paid", 1, paid)
    story.rows("update webhook_events set received_at = now()")
    story.rows("update facts set received_at = now()")
    assert told(story) == ["nexai"]
    tell(
        story.intake, story.keyring, "evt_customer", 2, CustomerFact((ObjectName("customer", "cus"),), app="elevenone")
    )
    keys = [job["business_key"].partition("/")[2] for job in story.jobs() if job["webhook_event_id"] == 1]
    assert sorted(keys) == ["elevenone", "nexai"]


@pytest.mark.req("R2")
def test_an_event_that_counts_as_nothing_is_not_forwarded(story: Story) -> None:
    listen(story, "nexai", takes={"every_app": True})
    fact = SubscriptionFact(
        objects=(ObjectName("subscription", "s"),), status=SubscriptionStatus.ACTIVE, amount_minor=1, currency="EUR"
    )
    tell(story.intake, story.keyring, "evt_1", 1, fact)
    assert told(story) == ["nexai"]
    story.rows("update webhook_events set status = 'ignored', reason = 'wrong mode: a test event at a live account'")
    assert story.rows("select write_forwards(1)::text") == [["[]"]]


@pytest.mark.req("R2")
@pytest.mark.parametrize("gateway", ["sayswitch", "mx_merchant"])
def test_what_only_hints_at_money_is_not_forwarded_nor_is_health_data(story: Story, gateway: str) -> None:
    listen(story, "nexai", takes={"every_app": True})
    sample = {"sayswitch": "payment.success.json", "mx_merchant": "PaymentSuccess.json"}[gateway]
    assert story.event(gateway, (ROOT / "events" / gateway / sample).read_bytes()).status == "applied"
    assert told(story) == []


@pytest.mark.req("R5")
def test_the_settings_name_an_address_and_the_table_wins(story: Story) -> None:
    assert keep_environment_url(story.worker, "https://env.example.com/hooks")
    assert not keep_environment_url(story.worker, "https://env.example.com/hooks")
    story.charge()
    assert told(story) == ["elevenone"]
    url = "select coalesce(target_url, environment_url) from apps where name = 'elevenone'"
    assert story.rows(url) == [["https://env.example.com/hooks"]]
    listen(story, "elevenone")
    assert story.rows(url) == [[URL]]
    story.rows("update apps set target_url = null")
    assert keep_environment_url(story.worker, "")
    story.charge()
    assert told(story) == ["elevenone"]  # and no second one


@pytest.mark.req("R2")
@pytest.mark.parametrize(
    ("changes", "headers", "error"),
    [
        ({"target_url": "http://app.example.com"}, None, TargetRefused),
        ({"target_url": "https://user:pw@app.example.com"}, None, TargetRefused),
        ({"target_url": "https://localhost/x"}, None, TargetRefused),
        ({"target_url": "https://127.0.0.1:9100/x"}, None, TargetRefused),
        ({"target_url": URL}, {"host": "elsewhere"}, HeaderRefused),
    ],
)
def test_what_could_never_be_delivered_to_is_refused_when_it_is_set(
    story: Story, changes: dict[str, Any], headers: dict[str, str] | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        set_up(story.ops, story.keyring, "default", "elevenone", changes, headers=headers)
    assert find_app(story.ops, "default", "elevenone")["target_url"] is None


@pytest.mark.req("R2")
def test_secrets_and_headers_rest_sealed_and_out_of_sight_of_who_answers_the_world(
    story: Story, gatehouse_database: Any
) -> None:
    secret = set_up(
        story.ops, story.keyring, "default", "elevenone", {"target_url": URL}, headers={"authorization": "Bearer t0ken"}
    )
    row = find_app(story.ops, "default", "elevenone")
    assert b"t0ken" not in row["sealed"]
    content = opened(story.keyring, "default", row, "elevenone")
    assert (content.secrets, content.headers) == ((secret,), {"authorization": "Bearer t0ken"})
    for role in ("api", "intake"):
        database: Database = gatehouse_database.connect(role)
        with pytest.raises(Exception, match="permission denied"):
            database.query("select sealed from apps")
        database.close()


@pytest.mark.req("R2")
def test_a_request_that_we_have_forwarded_is_refused(make_desk: MakeDesk) -> None:
    request = api_request(stripe_event())
    request["headers"][HOP_HEADER] = HOP
    answer = receive(stripe, request, make_desk())
    assert answer["statusCode"] == 400
    assert json.loads(answer["body"])["error"]["code"] == "FORWARDED_BY_US"


@pytest.mark.req("R3", "P11")
@pytest.mark.parametrize(
    ("name", "value", "stage"),
    [
        ("ELEVENONE_WEBHOOK_URL", "http://app.example.com", "prod"),
        ("ELEVENONE_WEBHOOK_URL", "https://user@app.example.com", "prod"),
        ("ELEVENONE_WEBHOOK_URL", "elevenone", "local"),
        ("FORWARDING_RETRY_ATTEMPTS", "0", "prod"),
        ("FORWARDING_TIMEOUT_MS", "60000", "prod"),
        ("FORWARDING_SOURCE", "a\nb", "prod"),
        ("FORWARDING_ALLOWED_LOCAL", "127.0.0.1:9100", "prod"),
    ],
)
def test_a_wrong_setting_stops_the_function_at_its_start(name: str, value: str, stage: str) -> None:
    with pytest.raises(SettingError, match=name):
        load({"STAGE": stage, name: value})


@pytest.mark.req("R2")
def test_the_list_of_allowed_local_addresses_exists_in_the_local_stage_alone() -> None:
    assert load({"STAGE": "local", "FORWARDING_ALLOWED_LOCAL": "127.0.0.1:9100, x"}).allowed_local == (
        "127.0.0.1:9100",
        "x",
    )
    assert "FORWARDING_ALLOWED_LOCAL" in rules.LOCAL_VARIABLES
    assert rules.no_setting_of_the_local_stage(our_template()) == []
