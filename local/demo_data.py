"""What `make run` opens with: two merchants with months of payments, orders, memberships, and some things gone wrong.

    festival   sells tickets by Stripe: orders, refunds, payments that failed with a reason
    clinic     bills patients by MX Merchant: memberships by category, and a product that nobody has put into one yet
    default    has an event that its app elevenone refused for good, to be sent again by hand

Everything goes the way that real events go, through `record`: it has its event, its sealed bytes and its facts. It is
the same each time but for the day on which it ends, which is today; what is there already is not written again.
"""

import json
import random
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.errors import DuplicateEntry
from gatehouse.facts import (
    CustomerFact,
    Event,
    Fact,
    InvoiceFact,
    InvoiceStatus,
    ObjectName,
    PaymentFact,
    PaymentStatus,
)
from gatehouse.gateways.stripe.translate import translate
from gatehouse.intake.record import Delivery, record
from gatehouse.models.accounts import add_account, add_merchant
from gatehouse.models.customers import NewCustomer
from gatehouse.models.order_items import add_item_type
from gatehouse.models.orders import NewItem, NewOrder, create_order
from gatehouse.models.products import put_products
from gatehouse.reports.verify import count_all
from gatehouse.sealing import Keyring
from local import local_database
from local.gateway_accounts import GatewayAccount as LocalAccount
from local.send import send

EVENTS = Path(__file__).resolve().parent.parent / "events"
ACTOR = "demo data"
FESTIVAL, CLINIC = "festival", "clinic"
DAYS = 150
TICKETS = 2000
PATIENTS = 90
SEED = 20
ORDERS = 160
REFUSED_REFERENCE = "demo-refused-by-its-app"
PRODUCTS = {
    "Testosterone Cypionate 200mg": "TRT",
    "TRT Monthly Plan": "TRT",
    "Semaglutide Weekly": "Weight Loss",
    "BPC-157 Vial": "Peptides",
    "Tadalafil 5mg": "ED",
}
UNKNOWN_PRODUCTS = ("Tirzepatide Starter Kit", "House Blend No. 4")
FIRST_NAMES = ("Ada", "Ben", "Chidi", "Dora", "Emeka", "Fatima", "Grace", "Hugo", "Ines", "Jonas", "Kemi", "Liam")
LAST_NAMES = ("Adler", "Brown", "Cole", "Diallo", "Evans", "Fischer", "Garcia", "Hansen", "Ito", "Jones")
PRICES = (4500, 6000, 12000, 18500, 25000)
ITEMS = {4500: "day_pass", 6000: "workshop_only", 12000: "social_only", 18500: "full_festival", 25000: "vip"}
DECLINES = (
    ("card_declined", "Your card has insufficient funds."),
    ("expired_card", "Your card has expired."),
    ("incorrect_cvc", "Your card's security code is incorrect."),
)


class Told(NamedTuple):
    """One event to be recorded."""

    event: Event
    body: bytes
    at: datetime


class Stack(NamedTuple):
    """What the demo data is written into."""

    intake: Database
    api: Database
    ops: Database
    keyring: Keyring
    accounts: Mapping[str, LocalAccount]


def fill(stack: Stack, facts: Mapping[str, Any], *, tickets: int = TICKETS, patients: int = PATIENTS) -> int:
    """Write what is not there yet; return how many events were recorded."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    recorded = 0
    if facts.get("receiver_url") and "paystack" in stack.accounts:
        recorded += _let_the_app_refuse(stack, facts)
    if "mx_merchant" in stack.accounts and _is_new(stack, CLINIC, "The health clinic", "mx_merchant"):
        products = [{"product_name": name, "category": category} for name, category in PRODUCTS.items()]
        put_products(stack.api, CLINIC, products, actor=ACTOR)
        account = GatewayAccount("mx_merchant", CLINIC, CLINIC, "both")
        recorded += _record(stack, account, list(clinic(today, patients)))
    if "stripe" in stack.accounts:
        told = list(festival(today, tickets))
        api = stack.accounts["stripe"].api
        for each in told:
            if api:
                api.gateway.learn(each.body)  # so that it can be refunded; a stand-in forgets at each end
        if _is_new(stack, FESTIVAL, "The summer festival", "stripe"):
            _order(stack, today, min(ORDERS, tickets))
            # The newest first: whoever opens the console meanwhile sees today. Facts come to the same in any order.
            recorded += _record(stack, GatewayAccount("stripe", FESTIVAL, FESTIVAL, "both"), told[::-1])
    count_all(stack.ops)
    return recorded


def open_stack(supervisor: Any) -> Stack:
    """Return the databases of a running stack by role, its keys and its gateways."""
    server, kept = supervisor.database_server, supervisor.kept_secrets

    def connected(role: str) -> Database:
        name = local_database.ROLES[role]
        return local_database.connect(server.url(local_database.NAME, name, kept.password(name)))

    keyring = Keyring({"current": "k1", "keys": {"k1": kept.key("data_key_1")}})
    accounts = {account.name: account for account in supervisor.accounts}
    return Stack(connected("intake"), connected("api"), connected("ops"), keyring, accounts)


# ── What the merchants live through ───────────────────────────────────────────────────────────────────────────────────
def festival(today: datetime, tickets: int) -> Iterator[Told]:
    """Yield the festival's charges as Stripe tells of them, the oldest first; one in fourteen fails."""
    chance = random.Random(SEED)  # noqa: S311 - no secrets
    for number, at in enumerate(_moments(chance, today, tickets)):
        is_failed = chance.random() < 1 / 14 or number == tickets - 1
        name = "charge.failed" if is_failed else "charge.succeeded"
        payload = json.loads((EVENTS / "stripe" / f"{name}.json").read_bytes())
        charge = payload["data"]["object"]
        first, last = chance.choice(FIRST_NAMES), chance.choice(LAST_NAMES)
        amount = chance.choice(PRICES)
        payload |= {"id": f"evt_demo{number:06}", "created": int(at.timestamp()), "livemode": True}
        charge |= {
            "id": f"ch_demo{number:06}",
            "payment_intent": f"pi_demo{number:06}",
            "balance_transaction": None,
            "amount": amount,
            "created": int(at.timestamp()),
            "currency": "eur" if number % 4 else "usd",
            "description": "Festival ticket",
            "livemode": True,
            "receipt_email": f"{first}.{last}@example.com".lower(),
            "metadata": {"order_reference": f"fest-{number:05}"},
        }
        if is_failed:
            charge["failure_code"], charge["failure_message"] = chance.choice(DECLINES)
        else:
            charge |= {"amount_captured": amount, "amount_refunded": 0}
        event = translate(payload, FESTIVAL)
        # What the gateway would be asked for is said at once: thousands of questions would keep the queues busy.
        fees = tuple(_with_fee(fact, amount) for fact in event.facts)
        yield Told(event._replace(facts=fees, needs=()), json.dumps(payload).encode(), at)


def clinic(today: datetime, patients: int) -> Iterator[Told]:
    """Yield the clinic's patients, each billed every month since he began; some of them fail once, some stop."""
    chance = random.Random(SEED + 1)  # noqa: S311 - as above
    names = [*PRODUCTS, *PRODUCTS, *UNKNOWN_PRODUCTS]
    for number in range(patients):
        code = f"P{number:04}"
        name = f"{chance.choice(FIRST_NAMES)} {chance.choice(LAST_NAMES)}"
        product = names[number % len(names)]
        began = today - timedelta(days=chance.randrange(5, DAYS), minutes=chance.randrange(60, 600))
        ends = chance.randrange(1, 4) if number % 9 == 0 else 99
        amount = chance.choice((14900, 19900, 29900))
        person = CustomerFact((ObjectName("customer", code),), name=name, email=f"patient{number}@example.com")
        yield _of_clinic(f"person-{code}", person, began)
        for month in range(min(ends, 6)):
            at = began + timedelta(days=30 * month)
            if at > datetime.now(UTC):
                break
            key = f"{number:04}{month:02}"
            lines = [{"product": product, "amount_minor": amount, "quantity": 1}]
            invoice = InvoiceFact(
                (ObjectName("invoice", f"i{key}"),),
                status=InvoiceStatus.PAID,
                number=f"INV-{key}",
                total_minor=amount,
                paid_minor=amount,
                currency="USD",
                customer_ref=code,
                customer_name=name,
                issued_at=at,
                lines=lines,
            )
            yield _of_clinic(f"invoice-{key}", invoice, at)
            is_failed = chance.random() < 0.05
            payment = PaymentFact(
                (ObjectName("payment", f"p{key}"),),
                status=PaymentStatus.FAILED if is_failed else PaymentStatus.COMPLETED,
                amount_minor=amount,
                received_minor=None if is_failed else amount,
                currency="USD",
                fee_minor=None if is_failed else amount * 3 // 100,
                fee_currency=None if is_failed else "USD",
                method="card",
                customer_ref=code,
                invoice_ref=f"i{key}",
                invoice_number=f"INV-{key}",
                source="Recurring",
                failure_code="declined" if is_failed else None,
                failure_message="The card was declined by its bank." if is_failed else None,
                completed_at=None if is_failed else at,
            )
            yield _of_clinic(f"payment-{key}", payment, at)


def _moments(chance: random.Random, today: datetime, many: int) -> list[datetime]:
    """Return moments of the last months until now, more of them by day than by night, and more of late."""
    end = datetime.now(UTC) - timedelta(minutes=5)
    moments = []
    for _ in range(many - 1):
        back = int(DAYS * (1 - chance.random() ** 0.7))
        minutes = min(int(chance.gauss(15, 4) * 60) % 1440, 1439)
        at = today - timedelta(days=back) + timedelta(minutes=minutes, seconds=chance.randrange(60))
        moments.append(at if at <= end else at - timedelta(days=1))
    return [*sorted(moments), end]


def _with_fee(fact: Fact, amount: int) -> Fact:
    if not isinstance(fact, PaymentFact) or fact.status != PaymentStatus.COMPLETED:
        return fact
    return fact._replace(fee_minor=(amount * 29 + 500) // 1000 + 30, fee_currency=fact.currency)


def _of_clinic(name: str, fact: Fact, at: datetime) -> Told:
    body = json.dumps({"eventType": "demo", "object": name}).encode()
    return Told(Event(f"demo-{name}", "demo", at, livemode=True, facts=(fact,), reference=fact.objects[0].id), body, at)


# ── Writing it ────────────────────────────────────────────────────────────────────────────────────────────────────────
def _is_new(stack: Stack, merchant: str, name: str, gateway: str) -> bool:
    """Add a merchant with an account; tell whether it was not there yet."""
    try:
        add_merchant(stack.ops, merchant, name)
    except DuplicateEntry:
        return False
    secret = {key: value for key, value in stack.accounts[gateway].secret.items() if key != "mode"}
    add_account(
        stack.ops,
        stack.keyring,
        gateway=gateway,
        account=merchant,
        merchant=merchant,
        mode="both",
        credentials=secret,
    )
    return True


def _record(stack: Stack, account: GatewayAccount, told: Sequence[Told]) -> int:
    for each in told:
        received_at = each.at + timedelta(seconds=2)
        record(stack.intake, Delivery(account, each.event, each.body, received_at), stack.keyring)
    return len(told)


def _order(stack: Stack, today: datetime, many: int) -> None:
    """Make orders as the festival's shop does, each numbered by its day."""
    for name in ITEMS.values():
        add_item_type(stack.api, FESTIVAL, name)
    chance = random.Random(SEED + 2)  # noqa: S311 - as above
    for number in range(many):
        first, last = chance.choice(FIRST_NAMES), chance.choice(LAST_NAMES)
        price = chance.choice(PRICES)
        quantity = chance.choice((1, 1, 2, 3))
        email = f"{first}.{last}@example.com".lower()
        create_order(
            stack.api,
            FESTIVAL,
            NewOrder("EUR", event_id="summer", event_name="Summer festival", reference=f"shop-{number:04}"),
            NewCustomer(email, first, last),
            [NewItem(ITEMS[price], price, quantity, attendee_name=f"{first} {last}", attendee_email=email)],
            at=today - timedelta(days=chance.randrange(DAYS), minutes=chance.randrange(1440)),
            actor=ACTOR,
        )


def _let_the_app_refuse(stack: Stack, facts: Mapping[str, Any]) -> int:
    """Send a charge of the app elevenone, which refuses it for good: a delivery that somebody has to send again."""
    account = stack.accounts["paystack"]
    payload = json.loads(account.sample.read_bytes())
    payload["data"] |= {"id": 900_000_001, "reference": REFUSED_REFERENCE, "metadata": {"app": "elevenone"}}
    body = json.dumps(payload).encode()
    where = urlsplit(str(facts["receiver_url"]))
    known = stack.ops.query(
        "select 1 as found from webhook_events where gateway = 'paystack' and reference like '%' || :reference::text"
        " limit 1",
        reference=REFUSED_REFERENCE,
    )
    if known:
        return 0
    conduct = json.dumps({"kind": "status", "status": 404, "times": 1, "path": where.path}).encode()
    ask = urllib.request.Request(f"http://{where.netloc}/_control/conduct", data=conduct, method="PUT")
    with urllib.request.urlopen(ask, timeout=5):  # noqa: S310 - as above
        send("paystack", body, facts)
    return 1
