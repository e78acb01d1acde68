"""A sixth gateway, which nobody has: what docs/adding_a_gateway.md asks for, place by place, as text for a copy.

It sends {"id", "kind", "at", "is_live", "payment": {…}}, signed by `Kiosk-Signature: <hex HMAC-SHA256 of the body>`.
"""

import hmac
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECRET = "kiosk-secret-that-is-public"

# The one list of what its events become: the table, and the columns that the sample `payment.paid` leaves there.
FACTS: list[tuple[str, dict[str, Any]]] = [
    (
        "payments",
        {
            "gateway": "kiosk",
            "status": "completed",
            "amount_minor": 1230,
            "received_minor": 1230,
            "currency": "EUR",
            "reference": "A-7",
            "livemode": False,
        },
    ),
]

PAID = """{
  "id": "ev_1",
  "kind": "payment.paid",
  "at": "2026-11-20T10:00:00+00:00",
  "is_live": false,
  "payment": {
    "id": "kp_1",
    "amount": "12.30",
    "currency": "EUR",
    "order": "A-7",
    "notes": {"app": "nexai", "user_id": "42"}
  }
}
"""
DECLINED = PAID.replace("ev_1", "ev_2").replace("payment.paid", "payment.declined").replace("kp_1", "kp_2")

VERIFY = '''"""Is this request really from Kiosk? `Kiosk-Signature` is HMAC-SHA256 over the raw body."""

from datetime import datetime

from gatehouse.accounts import GatewayAccount
from gatehouse.gateways import Verified
from gatehouse.gateways.hmac_hex import signer_of_body
from gatehouse.http_request import HttpRequest


def verify(request: HttpRequest, account: GatewayAccount, *, now: datetime) -> Verified:  # noqa: ARG001 - no time
    """Return which of the account's secrets signed the request; raise SignatureRefused when none did."""
    return Verified(signer_of_body(request, "Kiosk-Signature", account.signing_secrets, "sha256"))
'''

TRANSLATE = '''"""Kiosk's events in our words."""

from collections.abc import Mapping
from typing import Any

from gatehouse.errors import FactRefused, RequestRefused
from gatehouse.facts import Event, Fact, PaymentFact, PaymentStatus
from gatehouse.gateways.fields import (
    currency_code,
    identifier,
    mapping,
    minor_of_major,
    moment,
    object_names,
    plain_metadata,
    said_for_an_app,
)
from gatehouse.gateways.json_body import read_json_object

NAME = "kiosk"
ASKABLE: frozenset[str] = frozenset()
HANDLED = {"payment.paid": PaymentStatus.COMPLETED, "payment.declined": PaymentStatus.FAILED}


def read_event(body: bytes) -> dict[str, Any]:
    """Return the event that a body holds; raise RequestRefused when it holds none."""
    payload = read_json_object(body)
    if not identifier(payload.get("id")) or not identifier(payload.get("kind")):
        raise RequestRefused("the body is not an event of Kiosk: it has no id or no kind", code="NOT_AN_EVENT")
    return payload


def translate(payload: dict[str, Any], account: str) -> Event:  # noqa: ARG001 - its events say all that is needed
    """Say in our words what an event of `read_event` says; never fails, whatever it holds."""
    payment = mapping(payload.get("payment"))
    facts: tuple[Fact, ...] = ()
    ignored_because = refused_because = None
    if payload["kind"] not in HANDLED:
        ignored_because = f"event type not handled: {payload['kind']}"
    else:
        try:
            facts = (_payment(HANDLED[payload["kind"]], payment),)
        except FactRefused as reason:
            refused_because = str(reason)
    return Event(
        event_id=payload["id"],
        type=payload["kind"],
        occurred_at=moment(payload.get("at")),
        livemode=payload.get("is_live") is True,
        facts=facts,
        reference=identifier(payment.get("id")),
        ignored_because=ignored_because,
        refused_because=refused_because,
    )


def _payment(status: PaymentStatus, payment: Mapping[str, Any]) -> PaymentFact:
    amount_minor = minor_of_major(payment.get("amount"), payment.get("currency"))
    notes = plain_metadata(payment.get("notes"))
    return PaymentFact(
        objects=object_names(("payment", payment.get("id"))),
        status=status,
        amount_minor=amount_minor,
        received_minor=amount_minor if status is PaymentStatus.COMPLETED else None,
        currency=currency_code(payment.get("currency")),
        reference=identifier(payment.get("order")),
        metadata=notes,
        **said_for_an_app(notes),
    )
'''

INIT = '''"""Kiosk, which nobody has."""

from gatehouse.gateways import Credential
from gatehouse.gateways.kiosk.translate import ASKABLE, HANDLED, NAME, read_event, translate
from gatehouse.gateways.kiosk.verify import verify

__all__ = ["ASKABLE", "CREDENTIALS", "HANDLED", "NAME", "read_event", "translate", "verify"]

CREDENTIALS = (Credential("secret", "signing secret", signs=True),)
'''

HANDLER = '''"""Kiosk's webhook: POST /webhooks/kiosk."""

from gatehouse.gateways import kiosk
from gatehouse.intake.receive import webhook_handler

handler = webhook_handler(kiosk)
'''

TEST_TRANSLATE = '''"""Every handled event becomes the reviewed fact."""

import pytest

from gatehouse.gateways.kiosk import HANDLED, read_event, translate
from tests.support.gateway_samples import as_json, expected, samples


@pytest.mark.parametrize("sample", HANDLED)
def test_becomes_what_was_reviewed(sample: str) -> None:
    event = translate(read_event(samples("kiosk")[sample].read_bytes()), "default")
    assert as_json(event) == expected("kiosk")[sample]
'''

TEST_VERIFY = '''"""Only who has the secret is heard."""

import hmac
from datetime import UTC, datetime

import pytest

from gatehouse.accounts import GatewayAccount
from gatehouse.errors import SignatureRefused
from gatehouse.gateways.kiosk import verify
from gatehouse.http_request import read_request

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def index_of_signer(signed_with: str, *secrets: str) -> int:
    signature = hmac.digest(signed_with.encode(), b"{}", "sha256").hex()
    request = read_request({"headers": {"Kiosk-Signature": signature}, "body": "{}"}, now=NOW)
    account = GatewayAccount("kiosk", "default", "default", "both", secrets)
    return verify(request, account, now=NOW).secret_index


def test_the_new_and_the_old_secret() -> None:
    assert [index_of_signer(secret, "new", "old") for secret in ("new", "old")] == [0, 1]


@pytest.mark.parametrize("secrets", [("another",), ("",), ()])
def test_no_other(secrets: tuple[str, ...]) -> None:
    with pytest.raises(SignatureRefused):
        index_of_signer("mine", *secrets)
'''

EXPECTED_PAID = {
    "event_id": "ev_1",
    "type": "payment.paid",
    "occurred_at": "2026-11-20T10:00:00+00:00",
    "livemode": False,
    "facts": [
        {
            "objects": [{"kind": "payment", "id": "kp_1"}],
            "status": "completed",
            "amount_minor": 1230,
            "received_minor": 1230,
            "currency": "EUR",
            "reference": "A-7",
            "app": "nexai",
            "user_id": "42",
            "metadata": {"app": "nexai", "user_id": "42"},
        }
    ],
    "reference": "kp_1",
}
EXPECTED_DECLINED = {
    **EXPECTED_PAID,
    "event_id": "ev_2",
    "type": "payment.declined",
    "facts": [
        {
            "objects": [{"kind": "payment", "id": "kp_2"}],
            "status": "failed",
            "amount_minor": 1230,
            "currency": "EUR",
            "reference": "A-7",
            "app": "nexai",
            "user_id": "42",
            "metadata": {"app": "nexai", "user_id": "42"},
        }
    ],
    "reference": "kp_2",
}

SIGN = '''def sign_kiosk(body: bytes, gateway: Mapping[str, Any], secret: str, _unix_seconds: int) -> dict[str, str]:
    """Return Kiosk's signature header: HMAC-SHA256 over the exact bytes."""
    key = secret or str(gateway["secret"])
    return {"Kiosk-Signature": hmac.digest(key.encode(), body, "sha256").hex()}


'''

ACCOUNT = """

def _kiosk(kept: KeptSecrets) -> GatewayAccount:
    secret = kept.token("kiosk_secret", "")
    return GatewayAccount(
        name="kiosk",
        secret={"signing_secrets": [secret], "mode": "both"},
        shown={"secret": secret},
        sample=EVENTS / "kiosk" / "payment.paid.json",
    )
"""


def webhook_request(body: str = PAID, secret: str = SECRET) -> dict[str, Any]:
    """Return the request with which Kiosk sends a body, as API Gateway hands it over."""
    return {
        "version": "2.0",
        "routeKey": "POST /webhooks/kiosk",
        "rawPath": "/webhooks/kiosk",
        "rawQueryString": "",
        "headers": {
            "content-type": "application/json",
            "kiosk-signature": hmac.digest(secret.encode(), body.encode(), "sha256").hex(),
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "a1b2c3d4e5",
            "domainName": "hooks.example.com",
            "http": {
                "method": "POST",
                "path": "/webhooks/kiosk",
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "Kiosk",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "POST /webhooks/kiosk",
            "stage": "$default",
            "time": "20/Nov/2026:10:00:00 +0000",
            "timeEpoch": 1795168800000,
        },
        "body": body,
        "isBase64Encoded": False,
    }


# ── The places ────────────────────────────────────────────────────────────────────────────────────────────────────────
# Files of its own.
ADDED: dict[str, str] = {
    "layers/gatehouse/gatehouse/gateways/kiosk/__init__.py": INIT,
    "layers/gatehouse/gatehouse/gateways/kiosk/verify.py": VERIFY,
    "layers/gatehouse/gatehouse/gateways/kiosk/translate.py": TRANSLATE,
    "events/kiosk/payment.paid.json": PAID,
    "events/kiosk/payment.declined.json": DECLINED,
    "events/kiosk/README.md": "# Kiosk's events\n\nAll composed: nobody has this gateway.\n",
    "tests/gateways/kiosk/expected_facts.json": json.dumps(
        {"payment.paid": EXPECTED_PAID, "payment.declined": EXPECTED_DECLINED}
    ),
    "tests/gateways/kiosk/test_translate.py": TEST_TRANSLATE,
    "tests/gateways/kiosk/test_verify.py": TEST_VERIFY,
    "functions/kiosk_webhook/handler.py": HANDLER,
    "events/requests/kiosk_webhook.json": json.dumps(webhook_request(), indent=2) + "\n",
}


def _named(text: str) -> str:
    return _once(text, r"^NAMES = \((.+)\)$", r'NAMES = (\1, "kiosk")')


def _in_the_template(text: str) -> str:
    """Return template.yaml with Paystack's blocks and throttles once more, under the other name."""
    lines, block = [], list[str]()
    for line in [*text.splitlines(keepends=True), "end"]:
        if re.match(r" {0,2}\S", line):  # a block of its own level begins, and the one before is complete
            lines += [*block, *_as_kiosks(block)]
            block = []
        block.append(line)
    copied = "".join(lines)
    throttle = r"(^ {8}POST /webhooks/)paystack(/\{account\})?(: .+\n)"
    return re.sub(throttle, r"\g<0>\1kiosk\2\3", copied, flags=re.MULTILINE)


def _as_kiosks(block: list[str]) -> list[str]:
    if not re.match(r"  (Has)?Paystack(?!ApiUrl)\w*:", block[0] if block else ""):
        return []
    copied = "".join(line for line in block if "API_URL" not in line)
    without_alias = re.sub(r" {8}WebhookAlias:\n(?: {10}.+\n)+", "", copied)
    # Half of Paystack's connections: the pool has no more left.
    halved = without_alias.replace("Default: 10", "Default: 5")
    return [halved.replace("Paystack", "Kiosk").replace("paystack", "kiosk")]


def _with_an_account(text: str) -> str:
    last = "        _mx_merchant(kept, ports),\n"
    return _once(text, re.escape(last), f"{last}        _kiosk(kept),\n") + ACCOUNT


def _with_a_signer(text: str) -> str:
    start = "SIGNERS: dict[str, Signer] = {\n"
    return _once(text, re.escape(start), f'{SIGN}{start}    "kiosk": sign_kiosk,\n')


def _published(text: str) -> str:
    start = "PUBLISHED: dict[str, dict[str, Any]] = {\n"
    return _once(text, re.escape(start), f'{start}    "kiosk": {{"signing_secrets": ("{SECRET}",)}},\n')


def _with_a_second_account(text: str) -> str:
    return _once(text, r"^ACME = \{\n", 'ACME = {\n    "kiosk": ("secret_of_acme", {"secret": "secret_of_acme"}),\n')


def _told_with_the_requests(text: str) -> str:
    return _once(text, r"^\| `paystack_webhook`.+\n", rf"\g<0>| `kiosk_webhook` | secret `{SECRET}` | for ever |\n")


def _told_to_deploy(text: str) -> str:
    text = _once(
        text,
        r"^\| `PaystackSecretArn`.+\n",
        r'\g<0>| `KioskSecretArn` | `{"signing_secrets": ["…"], "mode": "live"}` | its secret |' + "\n",
    )
    return _once(text, r"^\| Paystack \| .+\n", r"\g<0>| Kiosk | Settings | `/webhooks/kiosk` | all are sent |" + "\n")


# Files of all, and the line or block that each gets.
CHANGED: dict[str, Callable[[str], str]] = {
    "layers/gatehouse/gatehouse/gateways/__init__.py": _named,
    "template.yaml": _in_the_template,
    "local/gateway_accounts.py": _with_an_account,
    "local/send.py": _with_a_signer,
    "tests/gateways/test_every_gateway_is_whole.py": _published,
    "tests/end_to_end/test_five_doors.py": _with_a_second_account,
    "events/requests/README.md": _told_with_the_requests,
    "docs/deploy.md": _told_to_deploy,
}


def add_kiosk(project: Path) -> None:
    """Write the gateway into a copy of the project, as docs/adding_a_gateway.md says."""
    for place, text in ADDED.items():
        file = project / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for place, change in CHANGED.items():
        file = project / place
        file.write_text(change(file.read_text()))


def _once(text: str, pattern: str, replacement: str) -> str:
    changed, times = re.subn(pattern, replacement, text, flags=re.MULTILINE)
    assert times == 1, f"{pattern} stands {times} times where it should stand once"
    return changed
