"""Five hundred clinics: every question about one of them at five million payments, beside the same at half a million.

The rows are always the same ones, written by COPY past the triggers, each as the rules would have made it.
BENCH_PAYMENTS=50000,500000 sets other sizes: two numbers of payments, each a multiple of 2,500.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from statistics import quantiles
from time import perf_counter
from typing import Any, NamedTuple

from bench.figures import Figure, alternating
from bench.ground import DATA_KEYS, Ground, ground
from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.facts import Event, ObjectName, PaymentFact, PaymentStatus
from gatehouse.intake.record import Delivery, record
from gatehouse.models import browse, memberships, products
from gatehouse.models.memberships import Wanted
from gatehouse.sealing import Keyring

CLINICS = 500
PAYMENTS_EACH = 5  # of a patient
LARGE_CLINIC = "clinic-large"  # as large in both sizes
LARGE_PATIENTS = 20_000
SIZES = "500000,5000000"
RUNS = 100
MOST_TIMES_DEARER = 1.5
MOST_MILLISECONDS = 50.0
EVENTS = 60  # of one round
ROUNDS = 9

BEGAN = datetime(2025, 1, 1, 12, tzinfo=UTC)
PRODUCTS = {
    "Testosterone Cypionate": "TRT",
    "Semaglutide 2.5mg": "Weight Loss",
    "BPC-157": "Peptides",
    "Tadalafil 5mg": "ED",
    "NAD+ booster": "Uncategorized",
}
NAMES = ("Ada", "Bob", "Cleo", "Dan", "Eve", "Finn", "Gia")
STATUSES = ("active", "active", "active", "active", "past_due", "paused", "canceled", "active")
PAYMENT_COLUMNS = (
    "id, merchant, gateway, account, livemode, status, amount_minor, received_minor, currency, customer_ref, source,"
    " invoice_ref, surcharge_minor, first_fact_at, last_fact_at, completed_at, product_name, product_category,"
    " is_recurring"
)
INVOICE_COLUMNS = (
    "id, merchant, gateway, account, livemode, gateway_id, status, number, total_minor, currency, customer_name, lines,"
    " first_fact_at, last_fact_at"
)
MEMBERSHIP_COLUMNS = (
    "merchant, gateway, account, customer_ref, livemode, category, name, email, product_name, status_by_rule,"
    " started_at, last_payment_at, next_expected_at, renews_every, amount_minor, currency, payment_count,"
    " google_review_submitted, referral_source, fulfillment_type"
)


class Patient(NamedTuple):
    """One patient of a clinic; everything of them follows from the two numbers."""

    merchant: str
    number: int

    @property
    def code(self) -> str:
        """Return the gateway's code of the patient."""
        return f"CODE{self.number:07}"

    @property
    def name(self) -> str:
        """Return a name."""
        return f"{NAMES[self.number % 7]} {chr(65 + self.number % 26)}name{self.number}"

    @property
    def product(self) -> str:
        """Return what the patient pays for."""
        return list(PRODUCTS)[self.number % 5]

    def paid_at(self, payment: int) -> str:
        """Return when a payment came in."""
        return (BEGAN + timedelta(days=self.number % 300 + 30 * payment)).isoformat()


def payment_rows(patients: Iterable[Patient], first_id: int) -> Iterator[str]:
    """Give the line of each payment."""
    number = first_id
    for patient in patients:
        product = patient.product
        for each in range(PAYMENTS_EACH):
            at = patient.paid_at(each)
            yield (
                f"{number}\t{patient.merchant}\tmx_merchant\t{patient.merchant}\tt\tcompleted\t20596\t20596\tUSD\t"
                f"{patient.code}\tRecurring\t{patient.code}-{each}\t696\t{at}\t{at}\t{at}\t{product}\t"
                f"{PRODUCTS[product]}\tt\n"
            )
            number += 1


def invoice_rows(patients: Iterable[Patient], first_id: int) -> Iterator[str]:
    """Give the line of the invoice of each patient's newest payment."""
    for number, patient in enumerate(patients, start=first_id):
        at = patient.paid_at(PAYMENTS_EACH - 1)
        yield (
            f"{number}\t{patient.merchant}\tmx_merchant\t{patient.merchant}\tt\t"
            f"{patient.code}-{PAYMENTS_EACH - 1}\tpaid\t"
            f'{number}\t19900\tUSD\t{patient.name}\t[{{"product": "{patient.product}"}}]\t{at}\t{at}\n'
        )


def membership_rows(patients: Iterable[Patient]) -> Iterator[str]:
    """Give the line of each membership."""
    for patient in patients:
        number, product = patient.number, patient.product
        started, last, following = (patient.paid_at(each) for each in (0, PAYMENTS_EACH - 1, PAYMENTS_EACH))
        yield (
            f"{patient.merchant}\tmx_merchant\t{patient.merchant}\t{patient.code}\tt\t{PRODUCTS[product]}\t"
            f"{patient.name}\tp{number}@example.com\t{product}\t{STATUSES[number % 8]}\t{started}\t{last}\t"
            f"{following}\tmonth\t19900\tUSD\t"
            f"{PAYMENTS_EACH}\t{'ft'[number % 3 == 0]}\t{('Google', 'A friend', chr(92) + 'N')[number % 3]}\t"
            f"{('Ship', 'Office', chr(92) + 'N')[number % 3]}\n"
        )


def copy(place: Ground, table: str, columns: str, rows: Iterable[str]) -> None:
    """Write rows by COPY, past the triggers."""
    with subprocess.Popen(
        [place.server.binaries / "psql", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", place.database.address,
         "--command=set session_replication_role = replica", f"--command=copy {table} ({columns}) from stdin"],
        stdin=subprocess.PIPE,
        text=True,
        bufsize=1 << 20,
    ) as psql:  # fmt: skip
        assert psql.stdin is not None
        psql.stdin.writelines(rows)
        psql.stdin.close()
        if psql.wait():
            raise RuntimeError(f"COPY into {table} failed")


def fill(place: Ground, before: int, payments: int) -> None:
    """Write patients with their payments until there are so many payments, besides those of the large clinic."""
    first, last = before // (CLINICS * PAYMENTS_EACH), payments // (CLINICS * PAYMENTS_EACH)
    indexes = place.database.sql(
        "select indexname::text, indexdef from pg_indexes where tablename in ('payments', 'memberships')"
        " and indexname not like '%_pkey' and indexname <> 'memberships_patient'"
    )
    for name, _ in indexes:  # made again behind: one by one and sorted, they cost a fraction
        place.database.sql(f"drop index {name}")

    def patients() -> Iterator[Patient]:
        for clinic in range(CLINICS):
            for number in range(first, last):
                yield Patient(f"clinic-{clinic}", number)
        if not before:
            for number in range(LARGE_PATIENTS):
                yield Patient(LARGE_CLINIC, number)

    if not before:
        clinics = [*(f"clinic-{clinic}" for clinic in range(CLINICS)), LARGE_CLINIC]
        copy(place, "merchants", "id, name", (f"{clinic}\t{clinic}\n" for clinic in clinics))
        known = (
            f"{clinic}\t{name}\t{category}\tx\t{BEGAN.isoformat()}\n"
            for clinic in clinics
            for name, category in PRODUCTS.items()
        )
        copy(place, "product_categories", "merchant, product_name, category, reviewed_by, reviewed_at", known)
    written = before + (LARGE_PATIENTS * PAYMENTS_EACH if before else 0)
    began = perf_counter()
    copy(place, "payments", PAYMENT_COLUMNS, payment_rows(patients(), 1 + written))
    seconds = perf_counter() - began
    copy(place, "invoices", INVOICE_COLUMNS, invoice_rows(patients(), 1 + written))
    copy(place, "memberships", MEMBERSHIP_COLUMNS, membership_rows(patients()))
    for _, definition in indexes:
        place.database.sql(definition)
    for table in ("merchants", "product_categories", "payments", "invoices", "memberships"):
        place.database.sql(f"vacuum analyze {table}")
    place.database.sql("select setval('payment_ids', 100000000), setval('subject_ids', 100000000)")
    new = payments - before
    print(f"  {payments:,} payments are there; COPY took {seconds:.0f} s, {new / seconds:,.0f} a second", flush=True)


def clinic_of(run: int) -> str:
    """Return one of the clinics; those of runs that follow each other lie far apart."""
    return f"clinic-{run * 37 % CLINICS}"


def questions(database: Database) -> dict[str, Callable[[int], object]]:
    """Return every question, each for the clinic of a run."""
    any_payment: dict[str, Any] = dict.fromkeys(
        ("gateway", "status", "reference", "customer_ref", "app", "user_id", "subscription_ref", "email", "livemode",
         "since", "until")
    )  # fmt: skip

    def page(merchant: str, wanted: Wanted = memberships.ANY, **options: Any) -> memberships.Page:
        return memberships.list_memberships(database, merchant, wanted, reader="bench", **options)

    def payments(merchant: str, **filters: Any) -> object:
        return browse.list_rows(database, merchant, "payments", most=51, **any_payment | filters)

    first_of: dict[str, int] = {}

    def patient(merchant: str) -> object:
        if merchant not in first_of:
            first_of[merchant] = page(merchant, most=1).rows[0].id
        return memberships.find_patient(database, merchant, first_of[merchant], reader="bench")

    large = LARGE_CLINIC
    return {
        "tabs with counts": lambda run: memberships.count_tabs(database, clinic_of(run)),
        "tabs with counts, 20,000 memberships": lambda _run: memberships.count_tabs(database, large),
        "memberships, a page by name": lambda run: page(clinic_of(run)),
        "memberships, a page of a tab": lambda run: page(clinic_of(run), Wanted(tab="TRT")),
        "memberships, a page of 20,000, far in": lambda run: page(large, after=(f"eve ename{run}", 1)),
        "memberships of 20,000, by last payment": lambda _run: page(large, sort="last_payment"),
        "memberships of 20,000, four filters": lambda _run: page(
            large, Wanted(status=["past_due"], google_review_submitted=True, referral_source="Google", tab="ED")
        ),
        "memberships of 20,000, by the beginning of a name": lambda run: page(large, Wanted(text=f"ename{run}")),
        "memberships that were canceled, of 20,000": lambda _run: page(large, Wanted(status=["canceled"])),
        "a patient with payments and invoices": lambda run: patient(clinic_of(run)),
        "payments, newest first": lambda run: payments(clinic_of(run)),
        "payments of one patient": lambda run: payments(clinic_of(run), customer_ref=f"CODE{run % 100:07}"),
        "products": lambda run: products.list_products(database, clinic_of(run), reader="bench"),
    }


def p95(ask: Callable[[int], object]) -> float:
    """Return the 95th percentile of a question in milliseconds."""
    for run in range(10):
        ask(run)
    times = []
    for run in range(RUNS):
        begun = perf_counter()
        ask(run)
        times.append((perf_counter() - begun) * 1000)
    return quantiles(times, n=20)[-1]


def recording(place: Ground) -> list[Figure]:
    """Measure an event of no member, with our triggers and without; and one of a member with a few payments."""
    database, keyring = place.database.connect("intake"), Keyring(DATA_KEYS)
    account = GatewayAccount("mx_merchant", "clinic-0", "clinic-0", "both", ())
    numbers = iter(range(10**9))

    def events(**words: Any) -> float:
        begun = perf_counter()
        for _ in range(EVENTS):
            number = next(numbers)
            fact = PaymentFact(
                (ObjectName("payment", f"bench-{number}"),),
                status=PaymentStatus.COMPLETED,
                amount_minor=100,
                received_minor=100,
                currency="USD",
                customer_ref=f"CODE{number % 100:07}",
                **words,
            )
            event = Event(f"bench-{number}", "bench", BEGAN + timedelta(days=700), True, (fact,))
            record(database, Delivery(account, event, b"{}", BEGAN), keyring)
        return (perf_counter() - begun) * 1000 / EVENTS

    names = place.database.sql(
        "select tgname::text from pg_trigger where tgrelid = 'payments'::regclass"
        " and (tgname like 'classify%' or tgname like 'follow_recurring%')"
    )

    def without() -> float:
        for (name,) in names:
            place.database.sql(f"alter table payments disable trigger {name}")
        spent = events()
        for (name,) in names:
            place.database.sql(f"alter table payments enable trigger {name}")
        return spent

    try:
        plain = alternating(without, events, rounds=ROUNDS)
        member = alternating(events, lambda: events(source="Recurring"), rounds=ROUNDS)
    finally:
        database.close()
    return [
        Figure("an event of no member (floor: no triggers)", plain.value, "ms", plain.floor, limit=1.05),
        Figure("an event of a member (floor: of no member)", member.value, "ms", member.floor),
    ]


def run() -> list[Figure]:
    """Measure at both sizes."""
    small, large = (int(size) for size in os.environ.get("BENCH_PAYMENTS", SIZES).split(","))
    figures = []
    with ground() as place:
        database = place.database.connect("api", statement_milliseconds=60_000)
        try:
            fill(place, 0, small)
            recorded = recording(place)
            at_small = {name: p95(ask) for name, ask in questions(database).items()}
            fill(place, small, large)
            at_large = {name: p95(ask) for name, ask in questions(database).items()}
        finally:
            database.close()
        figures = [
            Figure(f"{name}, p95 (floor: {small:,})", at_large[name], "ms", at_small[name], limit=MOST_TIMES_DEARER)
            for name in at_large
        ]
    slowest = max(at_large, key=lambda name: at_large[name])
    figures.append(Figure(f"the slowest: {slowest}", at_large[slowest], "ms", limit=MOST_MILLISECONDS))
    return figures + recorded


if __name__ == "__main__":
    sys.exit("make bench ARGS=clinics")
