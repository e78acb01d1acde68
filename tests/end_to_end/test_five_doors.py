"""Every sample of every gateway through the front door of the running stack, and every way to be sent away from it."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from gatehouse.gateways import NAMES, gateway_named
from local import send
from local.supervisor import CHECKOUT
from tests.support.gateway_samples import ignored_samples, samples
from tests.support.postgres import run_sql
from tests.support.stack import RunningStack, own_options, started, wait_until

MX_TOKEN_CHARACTERS = 32

SAMPLES = [(gateway, name) for gateway in NAMES for name in samples(gateway)]
IGNORED = [(gateway, name) for gateway in NAMES for name in ignored_samples(gateway)]
SIGNED = [name for name in NAMES if name != "mx_merchant"]
REFUSED_WITH = dict.fromkeys(SIGNED, 400) | {"mx_merchant": 401}

pytestmark = pytest.mark.req("G1", "G2", "G3", "G4", "G5")


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    """A stack of its own: whether an event is new is part of what is tried here."""
    with started(own_options()) as running:
        yield running


def answer_to(stack: RunningStack, gateway: str, body: bytes, **how: str) -> tuple[int, dict[str, Any]]:
    """Send a body signed as the gateway does; return status and answer."""
    status, answer = send.send(gateway, body, stack.facts, **how)
    return status, json.loads(answer)


def posted(stack: RunningStack, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """POST a body as it is."""
    status, answer = send.post(stack.facts["api_url"] + path, body, {"content-type": "application/json", **headers})
    return status, json.loads(answer)


def signed_headers(stack: RunningStack, gateway: str, body: bytes, secret: str = "") -> dict[str, str]:
    """Return the headers with which the gateway would send this body now."""
    return send.SIGNERS[gateway](body, stack.facts["gateways"][gateway], secret, int(time.time()))


def path_of(stack: RunningStack, gateway: str) -> str:
    """Return the path of the gateway's webhook, with the token where it has one."""
    return str(stack.facts["gateways"][gateway]["url"]).removeprefix(stack.facts["api_url"])


def kept(stack: RunningStack, gateway: str) -> list[list[Any]]:
    """Return what is written for a gateway: its events and its payments' names."""
    events = f"select 'event', event_id, status from webhook_events where gateway = '{gateway}'"
    names = f"select 'object', object_id, '' from payment_objects where gateway = '{gateway}'"
    return sorted(run_sql(stack.facts["database_url"], f"{events} union all {names}"))


# ── Accepted ──────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.req("G6", "G7")
@pytest.mark.parametrize(("gateway", "sample"), SAMPLES)
def test_a_sample_is_taken_and_applied(stack: RunningStack, gateway: str, sample: str) -> None:
    body = samples(gateway)[sample].read_bytes()
    status, words = answer_to(stack, gateway, body)
    assert (status, words["status"]) == (200, "applied"), words
    status, words = answer_to(stack, gateway, body)
    assert (status, words["status"]) == (200, "duplicate"), words


@pytest.mark.parametrize(("gateway", "sample"), IGNORED)
def test_a_sample_that_means_no_payment_is_kept_as_ignored(stack: RunningStack, gateway: str, sample: str) -> None:
    status, words = answer_to(stack, gateway, ignored_samples(gateway)[sample].read_bytes())
    assert (status, words["status"]) == (200, "ignored"), words
    assert words["reason"]
    found = run_sql(
        stack.facts["database_url"],
        f"select status from webhook_events where (gateway, event_id) = ('{gateway}', '{words['event']}')",
    )
    assert found == [["ignored"]]


def test_what_all_samples_became_is_what_was_reviewed(stack: RunningStack) -> None:
    """Each event is there once, under its own account, with the type that its translation says."""
    wanted: Counter[tuple[str, ...]] = Counter()
    for gateway, name in SAMPLES:
        package, body = gateway_named(gateway), samples(gateway)[name].read_bytes()
        answer_to(stack, gateway, body)
        event = package.translate(package.read_event(body), "default")
        wanted[gateway, "default", event.event_id, event.type, "applied"] += 1
    rows = run_sql(
        stack.facts["database_url"],
        "select gateway, account, event_id, type, status from webhook_events where status <> 'ignored'",
    )
    assert Counter(tuple(row) for row in rows) == wanted
    assert set(wanted.values()) == {1}


@pytest.mark.parametrize("gateway", NAMES)
def test_the_default_account_can_be_named_in_the_url(stack: RunningStack, gateway: str) -> None:
    body = next(iter(samples(gateway).values())).read_bytes()
    status, words = answer_to(stack, gateway, body, account="default")
    assert (status, words["status"]) in {(200, "applied"), (200, "duplicate")}, words


@pytest.mark.parametrize("gateway", SIGNED)
@pytest.mark.parametrize("written", [str.upper, str.lower, str.title])
def test_the_case_of_a_header_does_not_matter(stack: RunningStack, gateway: str, written: Any) -> None:
    body = next(iter(samples(gateway).values())).read_bytes()
    headers = {written(name): value for name, value in signed_headers(stack, gateway, body).items()}
    assert posted(stack, path_of(stack, gateway), body, headers)[0] == 200


@pytest.mark.req("D5", "G6", "G7")
def test_the_routes_of_the_older_systems_lead_to_the_same_doors(stack: RunningStack) -> None:
    body = samples("paystack")["charge.success"].read_bytes()
    headers = signed_headers(stack, "paystack", body)
    assert posted(stack, "/api/paystack/webhook", body, headers)[0] == 200
    forged = signed_headers(stack, "paystack", body, "sk_test_forged")
    assert posted(stack, "/api/paystack/webhook", body, forged)[0] == 400

    body = samples("mx_merchant")["PaymentSuccess"].read_bytes()
    token = path_of(stack, "mx_merchant").rpartition("/")[2]
    for query in ({"account": "default", "token": token}, {"token": token}):
        assert posted(stack, f"/api/webhook/mx-merchant?{urlencode(query)}", body, {})[0] == 200
    for query in ({"account": "default", "token": token[:-1]}, {"account": "default"}):
        assert posted(stack, f"/api/webhook/mx-merchant?{urlencode(query)}", body, {})[0] == 401


# ── Refused ───────────────────────────────────────────────────────────────────────────────────────────────────────────
FORGED = "a guess that is as long as any token could be"


@pytest.mark.req("G6", "G7")
@pytest.mark.parametrize("gateway", NAMES)
def test_what_is_forged_is_refused_and_writes_nothing(stack: RunningStack, gateway: str) -> None:
    before = kept(stack, gateway)
    for file in (samples(gateway) | ignored_samples(gateway)).values():
        status, words = answer_to(stack, gateway, file.read_bytes(), secret=FORGED)
        assert (status, words["error"]["code"]) == (REFUSED_WITH[gateway], "SIGNATURE_REFUSED")
    assert kept(stack, gateway) == before


@pytest.mark.parametrize("gateway", SIGNED)
def test_another_body_and_no_signature_are_refused(stack: RunningStack, gateway: str) -> None:
    before = kept(stack, gateway)
    body = next(iter(samples(gateway).values())).read_bytes()
    headers = signed_headers(stack, gateway, body)
    for changed in (body + b" ", body[:-1], body.replace(b"1", b"2"), b""):
        assert posted(stack, path_of(stack, gateway), changed, headers)[0] == 400
    for missing in headers.keys() - {"PAYPAL-AUTH-VERSION"}:
        less = {name: value for name, value in headers.items() if name != missing}
        assert posted(stack, path_of(stack, gateway), body, less)[0] == 400
    assert posted(stack, path_of(stack, gateway), body, {})[0] == 400
    assert kept(stack, gateway) == before


@pytest.mark.parametrize("gateway", SIGNED)
def test_one_gateways_signature_opens_no_other_door(stack: RunningStack, gateway: str) -> None:
    body = next(iter(samples(gateway).values())).read_bytes()
    headers = signed_headers(stack, gateway, body)
    for other in NAMES:
        if other != gateway:
            path = "/webhooks/mx_merchant" if other == "mx_merchant" else path_of(stack, other)
            assert posted(stack, path, body, headers)[0] == REFUSED_WITH[other]


@pytest.mark.req("G7")
def test_a_stranger_at_mx_merchants_door_gets_401(stack: RunningStack) -> None:
    before = kept(stack, "mx_merchant")
    body = samples("mx_merchant")["PaymentSuccess"].read_bytes()
    path = path_of(stack, "mx_merchant")
    token = path.rpartition("/")[2]
    assert len(token) >= MX_TOKEN_CHARACTERS
    for wrong in ("/webhooks/mx_merchant", path[:-1], f"{path}0", path.replace(token, token.upper())):
        assert posted(stack, wrong, body, {})[0] == 401
    assert posted(stack, path, body.replace(b"418355562", b"418355563"), {})[0] == 401  # another merchant's
    assert kept(stack, "mx_merchant") == before


@pytest.mark.parametrize("gateway", NAMES)
def test_an_account_that_nobody_has_made_is_404(stack: RunningStack, gateway: str) -> None:
    body = next(iter(samples(gateway).values())).read_bytes()
    status, words = answer_to(stack, gateway, body, account="nobody", secret=FORGED)
    assert (status, words["error"]["code"]) == (404, "GATEWAY_NOT_CONFIGURED")


@pytest.mark.req("G7", "G12")
def test_neither_a_secret_nor_the_token_is_in_anything_that_is_shown(stack: RunningStack) -> None:
    shown = "\n".join(stack.lines)
    facts = stack.facts["gateways"]
    secrets = {
        facts["stripe"]["signing_secret"],
        facts["paystack"]["secret_key"],
        facts["sayswitch"]["secret_key"],
        facts["mx_merchant"]["url"].rpartition("/")[2],
        FORGED,
    }
    assert "mx_merchant_webhook" in shown
    assert {each for each in secrets if each in shown} == set()


# ── Other accounts, and a template with other numbers ─────────────────────────────────────────────────────────────────
ACME = {
    "stripe": ("whsec_of_acme", {"signing_secret": "whsec_of_acme"}),
    "paypal": ("WH_OF_ACME", {"webhook_id": "WH_OF_ACME"}),
    "paystack": ("sk_test_of_acme", {"secret_key": "sk_test_of_acme"}),
    "sayswitch": ("sk_test_of_acme", {"secret_key": "sk_test_of_acme"}),
    "mx_merchant": (
        "acme-" * 8,
        {"token": "acme-" * 8, "merchant_id": "418355562", "consumer_key": "acme", "consumer_secret": "acme"},
    ),
}
CHANGES = (
    (
        "POST /webhooks/sayswitch: {ThrottlingRateLimit: 25, ThrottlingBurstLimit: 50}",
        "POST /webhooks/sayswitch: {ThrottlingRateLimit: 0.01, ThrottlingBurstLimit: 2}",
    ),
    ("GATEWAY_SECRET_ARN: !Ref PaystackSecretArn", 'GATEWAY_SECRET_ARN: ""'),
)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack whose SaySwitch route lets two requests through, without a default account at Paystack, and with Acme."""
    project = tmp_path_factory.mktemp("project")
    for name in ("functions", "layers"):
        (project / name).symlink_to(CHECKOUT / name)
    text = (CHECKOUT / "template.yaml").read_text()
    for old, new in CHANGES:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (project / "template.yaml").write_text(text)
    with started(own_options(template=project / "template.yaml")) as running:
        for gateway, (_secret, credentials) in ACME.items():
            add_acme(running, gateway, credentials)
        yield running


def add_acme(stack: RunningStack, gateway: str, credentials: dict[str, str]) -> None:
    """Add the account acme as ops do."""
    command = [sys.executable, "-m", "cli.main", "gateways", "add", gateway, "acme", "--merchant", "default"]
    subprocess.run(
        [*command, "--mode", "both", "--credentials", "-"],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], **stack.facts["command_line"]},
        input=json.dumps(credentials),
        text=True,
        check=True,
        capture_output=True,
    )


@pytest.mark.req("G7", "G11", "M7")
@pytest.mark.parametrize("gateway", NAMES)
def test_an_account_has_its_own_door_and_key(narrow: RunningStack, gateway: str) -> None:
    body = next(iter(samples(gateway).values())).read_bytes()
    secret, _ = ACME[gateway]
    status, words = answer_to(narrow, gateway, body, account="acme", secret=secret)
    assert (status, words["status"]) == (200, "applied"), words
    status, words = answer_to(narrow, gateway, body, account="acme")  # signed for the default account
    assert (status, words["error"]["code"]) == (REFUSED_WITH[gateway], "SIGNATURE_REFUSED")
    if gateway not in ("paystack", "sayswitch"):  # here the one has no default account, the other few tries
        status, words = answer_to(narrow, gateway, body, secret=secret)
        assert (status, words["error"]["code"]) == (REFUSED_WITH[gateway], "SIGNATURE_REFUSED")
    events = f"select distinct account from webhook_events where gateway = '{gateway}'"
    assert run_sql(narrow.facts["database_url"], events) == [["acme"]]


@pytest.mark.req("G7", "M1", "D3")
def test_a_hint_to_a_second_account_is_confirmed_with_its_invoice(narrow: RunningStack) -> None:
    secret, _ = ACME["mx_merchant"]
    body = samples("mx_merchant")["PaymentSuccess__2026"].read_bytes()
    assert answer_to(narrow, "mx_merchant", body, account="acme", secret=secret)[0] == 200
    became = (
        "select p.status, i.status, i.lines -> 0 ->> 'product' is not null from payments p join invoices i on"
        " (i.gateway, i.account, i.gateway_id) = (p.gateway, p.account, p.invoice_ref)"
        " where p.account = 'acme' and p.invoice_number = '2577'"
    )
    wait_until(lambda: run_sql(narrow.facts["database_url"], became) == [["completed", "paid", True]])


@pytest.mark.req("G11")
def test_a_storm_at_one_door_is_429_and_the_others_stay_open(narrow: RunningStack) -> None:
    body = samples("sayswitch")["payment.success"].read_bytes()
    path = path_of(narrow, "sayswitch")
    headers = signed_headers(narrow, "sayswitch", body)
    assert [posted(narrow, path, body, headers)[0] for _ in range(4)] == [200, 200, 429, 429]
    assert answer_to(narrow, "sayswitch", body, account="default")[0] == 200  # a route of its own
    stripe = samples("stripe")["charge.succeeded"].read_bytes()
    assert [answer_to(narrow, "stripe", stripe)[0] for _ in range(4)] == [200] * 4


def test_a_gateway_without_a_secret_is_404_and_the_others_work(narrow: RunningStack) -> None:
    body = samples("paystack")["charge.success"].read_bytes()
    status, words = answer_to(narrow, "paystack", body)
    assert (status, words["error"]["code"]) == (404, "GATEWAY_NOT_CONFIGURED")
    body = samples("paypal")["payment.capture.completed"].read_bytes()
    assert answer_to(narrow, "paypal", body)[0] == 200
