"""What must not be kept in clear is nowhere in clear: planted into every sample, looked for in all that is left of it.

A card's number, its CVV, a reusable authorisation, a client secret: in no row, no log line, no metric, no message. A
person's name, e-mail and phone: in the columns that are made for them, and nowhere else.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gatehouse.aws import AwsClient
from gatehouse.gateways import NAMES
from gatehouse.settings import AwsCredentials
from local import send
from tests.support.gateway_samples import samples
from tests.support.postgres import run_sql
from tests.support.stack import RunningStack, own_options, started, wait_until

CARD = "4111111111111111"
CARD_IN_GROUPS = "4111 1111 1111 1111"
AMEX = "378282246310005"
CVV = "cvv-planted-981"
AUTHORIZATION = "AUTH_planted0x17"
CLIENT_SECRET = "pi_3Nplanted_secret_plantedsecretofaclient"
API_KEY = "sk_live_plantedplantedplanted"
SECRETS = (CARD, CARD_IN_GROUPS, CARD_IN_GROUPS.replace(" ", "-"), AMEX, CVV, AUTHORIZATION, CLIENT_SECRET, API_KEY)

NAME = "Planted Patientname"
EMAIL = "planted.patient@example.com"
PHONE = "+15550178923"
PERSONAL = (NAME, EMAIL, PHONE, "Patientname")

# Where a person may stand: columns made for that, and the facts from which they are folded.
HOMES_OF_PERSONS = {
    "gateway_customers": {"name", "email", "phone", "metadata"},
    "customers": {"email", "email_key", "phone", "first_name", "last_name", "search"},
    "payments": {"email", "metadata"},
    "subscriptions": {"email", "metadata"},
    "invoices": {"email", "customer_name", "billing_address", "description", "lines", "metadata"},
    "refunds": {"metadata"},
    "memberships": {"name", "name_key", "email", "search"},
    "facts": {"words"},
}

FREE_TEXT = {
    *("description", "message", "reason", "narration", "note", "gateway_response", "failure_message", "customer_note"),
    *("merchant_note", "merchantNote", "responseMessage", "statement_descriptor", "seller_message", "custom_note"),
}
# The names of plans, products and shops are no persons'.
PERSONS = ("customer", "buyer", "payer", "recipient", "billing_details", "shipping", "customer_details", "receiver")
NAMES_OF_PERSONS = {
    *("customer", "first_name", "last_name", "customer_name", "account_name", "surname"),
    *(f"{person}.name" for person in PERSONS),
}
EMAILS = {"email", "email_address", "receipt_email", "customer_email"}
PHONES = {"phone", "phone_number", "customer_phone"}


def planted(value: Any, key: str = "") -> Any:
    """Return a payload with something that must not be kept in clear wherever a stranger could put it."""
    if isinstance(value, dict):
        found = {name: planted(inner, f"{key}.name" if name == "name" else name) for name, inner in value.items()}
        if key not in ("amount", "links"):
            found |= {
                "card_number": CARD,
                "cvv": CVV,
                "authorization_code": AUTHORIZATION,
                "client_secret": CLIENT_SECRET,
                "planted_text": f"paid with {CARD_IN_GROUPS}, then {AMEX}; {AUTHORIZATION} {CLIENT_SECRET} {API_KEY}",
            }
        return found
    if isinstance(value, list):
        return [planted(inner, key) for inner in value]
    if isinstance(value, str):
        return _planted_text(value, key)
    return value


def _planted_text(value: str, key: str) -> str:
    if key in FREE_TEXT:
        return f"{value} {CARD_IN_GROUPS.replace(' ', '-')} {AUTHORIZATION} {API_KEY}"
    if key in NAMES_OF_PERSONS and " " in value.strip():
        return NAME
    if key in EMAILS:
        return EMAIL
    return PHONE if key in PHONES else value


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    """A stack of its own that has seen every sample with something planted in it, and has worked its queues through."""
    with started(own_options()) as running:
        for gateway in NAMES:
            for name, file in samples(gateway).items():
                body = json.dumps(planted(json.loads(file.read_bytes()))).encode()
                status, answer = send.send(gateway, body, running.facts)
                assert status == 200, (gateway, name, answer)
                assert json.loads(answer)["status"] in ("applied", "duplicate", "failed"), (gateway, name, answer)
        wait_until(lambda: not _waiting(running), seconds=60)
        yield running


def _waiting(stack: RunningStack) -> list[Any]:
    due = "select id from jobs where status = 'leased' or (status = 'waiting' and due_at <= now() and attempts = 0)"
    return run_sql(stack.facts["database_url"], due)


def _everything(stack: RunningStack) -> Iterator[tuple[str, str, str]]:
    """Yield (table, column, value) of every value in the database."""
    address = stack.facts["database_url"]
    tables = run_sql(
        address,
        "select c.relname::text from pg_class c where c.relnamespace = 'public'::regnamespace"
        " and c.relkind in ('r', 'p') and not c.relispartition order by 1",
    )
    for (table,) in tables:
        for (row,) in run_sql(address, f'select to_jsonb(t) from "{table}" t'):
            said = json.loads(row) if isinstance(row, str) else row
            for column, value in said.items():
                yield table, column, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@pytest.mark.req("G12")
def test_secrets_are_in_no_row(stack: RunningStack) -> None:
    everything = list(_everything(stack))
    assert len({table for table, _, _ in everything}) > 12  # it was really looked at
    found = {(table, column) for table, column, value in everything if any(each in value for each in SECRETS)}
    assert found == set()


@pytest.mark.req("G12", "M9", "P8")
def test_persons_are_only_where_they_may_be(stack: RunningStack) -> None:
    found = {(table, column) for table, column, value in _everything(stack) if any(each in value for each in PERSONAL)}
    assert ("gateway_customers", "email") in found
    assert {place for place in found if place[1] not in HOMES_OF_PERSONS.get(place[0], set())} == set()


@pytest.mark.req("G12", "M9")
def test_neither_is_in_logs_metrics_or_answers(stack: RunningStack) -> None:
    shown = "\n".join(stack.lines)
    assert "event applied" in shown
    assert '"_aws"' in shown  # metrics go the same way
    assert {each for each in (*SECRETS, *PERSONAL) if each in shown} == set()


@pytest.mark.req("G12", "M9")
def test_neither_is_in_a_message(stack: RunningStack) -> None:
    sqs = AwsClient(
        "sqs", region="us-east-1", endpoint_url=stack.facts["sqs_endpoint"], credentials=lambda: CREDENTIALS
    )
    bodies = []
    for url in stack.facts["queues"].values():
        request = {"QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 0}
        answer = sqs.call("ReceiveMessage", request, timeout_seconds=5)
        bodies += [message["Body"] for message in answer.get("Messages", ())]
    sqs.close()
    assert {each for each in (*SECRETS, *PERSONAL) for body in bodies if each in body} == set()
    arguments = [value for table, column, value in _everything(stack) if (table, column) == ("jobs", "arguments")]
    assert arguments
    assert {each for each in (*SECRETS, *PERSONAL) for value in arguments if each in value} == set()


CREDENTIALS = AwsCredentials("test", "test")
