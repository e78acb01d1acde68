"""What `make run` opens with: two merchants with months of payments, orders, memberships, and some things gone wrong.

    festival   sells tickets by Stripe: orders with their payments, refunds, a dispute, payments that failed
    clinic     bills patients by MX Merchant: memberships by category, some past due or cancelled, and a product that
               nobody has put into a category yet
    default    has an event that its app elevenone refused for good, to be sent again by hand, and users of its apps

Everything goes the way that real events go, through `record`: it has its event, its sealed bytes and its facts. It is
the same each time but for the moment at which it ends, which is the one at which its merchant was added. So a fill that
was interrupted is taken up where it stopped, whenever that is, and what is there already is not written again.
"""

import json
import random
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.errors import DuplicateEntry
from gatehouse.facts import (
    CustomerFact,
    DisputeFact,
    DisputeStatus,
    Event,
    Fact,
    InvoiceFact,
    InvoiceStatus,
    ObjectName,
    PaymentFact,
    PaymentStatus,
    RefundFact,
    RefundStatus,
    SubscriptionFact,
    SubscriptionStatus,
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
UNPAID_ORDERS = 6
EACH_REFUNDED = 40  # of the festival's payments one in so many
REFUSAL_SECONDS = 60.0
DEFAULT = "default"
PLANS = {"nexai": ("PLN_nexai_basic", "PLN_nexai_pro"), "elevenone": ("PLN_elevenone_team",)}
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
    recorded = 0
    is_refused = bool(facts.get("receiver_url")) and "paystack" in stack.accounts
    if is_refused:
        recorded += _let_the_app_refuse(stack, facts)
    if "mx_merchant" in stack.accounts:
        recorded += _fill_clinic(stack, patients)
    if "stripe" in stack.accounts:
        recorded += _fill_festival(stack, tickets)
    if "paystack" in stack.accounts:
        if is_refused:
            _wait_for_refusal(stack)  # else the app would refuse one of what follows
        account = GatewayAccount("paystack", DEFAULT, DEFAULT, "both")
        recorded += _record(stack, account, users(_added_at(stack, DEFAULT)))
    count_all(stack.ops)
    return recorded


def _fill_clinic(stack: Stack, patients: int) -> int:
    end = _merchant(stack, CLINIC, "The health clinic", "mx_merchant")
    if not stack.ops.query(
        "select 1 as found from product_categories where merchant = :merchant::text limit 1", merchant=CLINIC
    ):
        products = [{"product_name": name, "category": category} for name, category in PRODUCTS.items()]
        put_products(stack.api, CLINIC, products, actor=ACTOR)
    return _record(stack, GatewayAccount("mx_merchant", CLINIC, CLINIC, "both"), clinic(end, patients))


def _fill_festival(stack: Stack, tickets: int) -> int:
    end = _merchant(stack, FESTIVAL, "The summer festival", "stripe")
    charges = list(festival(end, tickets))
    if api := stack.accounts["stripe"].api:
        for each in charges:
            api.gateway.learn(each.body)  # so that it can be refunded; a stand-in forgets at each end
    _order(stack, charges)
    # The newest first: whoever opens the console meanwhile sees today. Facts come to the same in any order.
    return _record(stack, GatewayAccount("stripe", FESTIVAL, FESTIVAL, "both"), [*charges[::-1], *given_back(charges)])


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
def festival(until: datetime, tickets: int) -> Iterator[Told]:
    """Yield the festival's charges as Stripe tells of them, the oldest first; one in fourteen fails."""
    chance = random.Random(SEED)  # noqa: S311 - no secrets
    for number, at in enumerate(_moments(chance, until, tickets)):
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


def given_back(charges: Sequence[Told]) -> Iterator[Told]:
    """Yield what came of some charges later: refunds of half and of all, and a dispute of one."""
    paid = [each for each in charges if each.event.type == "charge.succeeded"]
    for number, each in enumerate(paid[EACH_REFUNDED // 4 :: EACH_REFUNDED]):
        charge = json.loads(each.body)["data"]["object"]
        name = charge["id"].removeprefix("ch_")
        refund = RefundFact(
            (ObjectName("refund", f"re_{name}"),),
            payment=(ObjectName("payment_intent", charge["payment_intent"]),),
            status=RefundStatus.COMPLETED,
            amount_minor=charge["amount"] if number % 3 == 0 else charge["amount"] // 2,
            currency=charge["currency"].upper(),
            reason="requested_by_customer",
            refunded_at=each.at + timedelta(hours=5),
        )
        yield _by_itself(f"evt_refund_{name}", refund, each.at + timedelta(hours=5))
    if len(paid) > 1:
        each = paid[-2]
        charge = json.loads(each.body)["data"]["object"]
        dispute = DisputeFact(
            (ObjectName("dispute", f"dp_{charge['id']}"),),
            payment=(ObjectName("payment_intent", charge["payment_intent"]),),
            status=DisputeStatus.NEEDS_RESPONSE,
            amount_minor=charge["amount"],
            currency=charge["currency"].upper(),
            reason="fraudulent",
            opened_at=each.at + timedelta(hours=2),
            respond_by=each.at + timedelta(days=9),
        )
        yield _by_itself(f"evt_dispute_{charge['id']}", dispute, each.at + timedelta(hours=2))


def users(until: datetime) -> Iterator[Told]:
    """Yield the subscriptions of the apps' users: most go on, some wait for money, some have ended."""
    chance = random.Random(SEED + 3)  # noqa: S311 - as above
    statuses = (*[SubscriptionStatus.ACTIVE] * 6, SubscriptionStatus.PAST_DUE, SubscriptionStatus.CANCELLED)
    for app, plans in PLANS.items():
        for number in range(8 if app == "nexai" else 4):
            name = f"SUB_demo_{app}{number:02}"
            began = until - timedelta(days=chance.randrange(3, DAYS), minutes=chance.randrange(1440))
            plan = plans[number % len(plans)]
            subscription = SubscriptionFact(
                (ObjectName("subscription", name),),
                status=statuses[number % len(statuses)] if app == "nexai" else statuses[4 + number],
                plan=plan,
                plan_name=plan.removeprefix("PLN_").replace("_", " "),
                amount_minor=chance.choice((250_000, 500_000)),
                currency="NGN",
                interval="month",
                app=app,
                user_id=f"user-{app}-{number:02}",
                started_at=began,
            )
            yield _by_itself(name, subscription, began)


def clinic(until: datetime, patients: int) -> Iterator[Told]:
    """Yield the clinic's patients, each billed every month since he began; some of them fail once, some stop."""
    today = _day_of(until)
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
            if at > until:
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
            # The last payment of one patient has failed in any case: his membership is past due.
            is_failed = chance.random() < 0.05 or (number == 1 and at + timedelta(days=30) > until)
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
                subscription_ref=f"contract-{code}" if number % 9 == 0 else None,
                source="Recurring",
                failure_code="declined" if is_failed else None,
                failure_message="The card was declined by its bank." if is_failed else None,
                completed_at=None if is_failed else at,
            )
            yield _of_clinic(f"payment-{key}", payment, at)
        ended = began + timedelta(days=30 * (ends - 1) + 10)
        if number % 9 == 0 and ended < until:
            contract = SubscriptionFact(
                (ObjectName("subscription", f"contract-{code}"),),
                status=SubscriptionStatus.CANCELLED,
                customer_ref=code,
                started_at=began,
                ended_at=ended,
                cancel_reason="asked by the patient",
            )
            yield _of_clinic(f"contract-{code}", contract, ended)


def _moments(chance: random.Random, until: datetime, many: int) -> list[datetime]:
    """Return moments of the last months until the end, more of them by day than by night, and more of late."""
    today, end = _day_of(until), until - timedelta(minutes=5)
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


def _day_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _by_itself(name: str, fact: Fact, at: datetime) -> Told:
    """Return one fact as an event of its own."""
    body = json.dumps({"id": name, "type": "demo"}).encode()
    return Told(Event(name, "demo", at, livemode=True, facts=(fact,), reference=fact.objects[0].id), body, at)


def _of_clinic(name: str, fact: Fact, at: datetime) -> Told:
    body = json.dumps({"eventType": "demo", "object": name}).encode()
    return Told(Event(f"demo-{name}", "demo", at, livemode=True, facts=(fact,), reference=fact.objects[0].id), body, at)


# ── Writing it ────────────────────────────────────────────────────────────────────────────────────────────────────────
def _merchant(stack: Stack, merchant: str, name: str, gateway: str) -> datetime:
    """Add a merchant with an account, where they are not there yet; return when the merchant was added."""
    with suppress(DuplicateEntry):
        add_merchant(stack.ops, merchant, name, actor=ACTOR)
    secret = {key: value for key, value in stack.accounts[gateway].secret.items() if key != "mode"}
    with suppress(DuplicateEntry):
        add_account(
            stack.ops,
            stack.keyring,
            gateway=gateway,
            account=merchant,
            merchant=merchant,
            mode="both",
            credentials=secret,
            actor=ACTOR,
        )
    return _added_at(stack, merchant)


def _added_at(stack: Stack, merchant: str) -> datetime:
    row = stack.ops.query_one("select created_at from merchants where id = :merchant::text", merchant=merchant)
    added_at: datetime = row["created_at"]
    return added_at


def _record(stack: Stack, account: GatewayAccount, told: Iterable[Told]) -> int:
    """Record the events that are not there yet; return how many."""
    known = stack.ops.query(
        "select event_id from webhook_events where gateway = :gateway::text and account = :account::text",
        gateway=account.gateway,
        account=account.account,
    )
    there = {row["event_id"] for row in known}
    recorded = 0
    for each in told:
        if each.event.event_id not in there:
            received_at = each.at + timedelta(seconds=2)
            record(stack.intake, Delivery(account, each.event, each.body, received_at), stack.keyring)
            recorded += 1
    return recorded


def _order(stack: Stack, charges: Sequence[Told]) -> None:
    """Make the orders that the newest charges in euro pay, and some that nobody has paid, each numbered by its day."""
    for name in ITEMS.values():
        with suppress(DuplicateEntry):
            add_item_type(stack.api, FESTIVAL, name)
    rows = stack.ops.query("select reference from orders where merchant = :merchant::text", merchant=FESTIVAL)
    there = {row["reference"] for row in rows}
    objects = [(json.loads(each.body)["data"]["object"], each.at) for each in charges]
    in_euro = [(charge, at) for charge, at in objects if charge["currency"] == "eur"][-ORDERS:]
    wanted = [(charge["metadata"]["order_reference"], charge, at) for charge, at in in_euro]
    wanted += [(f"unpaid-{place}", charge, at) for place, (charge, at) in enumerate(in_euro[:UNPAID_ORDERS])]
    for reference, charge, at in wanted:
        if reference in there:
            continue
        first, last = charge["receipt_email"].partition("@")[0].title().split(".")
        create_order(
            stack.api,
            FESTIVAL,
            NewOrder("EUR", event_id="summer", event_name="Summer festival", reference=reference),
            NewCustomer(charge["receipt_email"], first, last),
            [
                NewItem(
                    ITEMS[charge["amount"]],
                    charge["amount"],
                    1,
                    attendee_name=f"{first} {last}",
                    attendee_email=charge["receipt_email"],
                )
            ],
            at=at - timedelta(minutes=3),
            actor=ACTOR,
        )


def _wait_for_refusal(stack: Stack) -> None:
    """Wait until the app has refused what it is to refuse; no longer than a minute."""
    until = time.monotonic() + REFUSAL_SECONDS
    while time.monotonic() < until and not stack.ops.query(
        "select 1 as found from jobs j join webhook_events e on e.id = j.webhook_event_id"
        " where j.topic = 'forward' and j.status in ('dead', 'done') and e.reference = :reference::text limit 1",
        reference=REFUSED_REFERENCE,
    ):
        time.sleep(0.5)


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
