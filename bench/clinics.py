"""Five hundred clinics: every question about one of them at five million payments, beside the same at half a million.

The rows are always the same ones, written by COPY past the triggers, much as the rules would have made them. Both
databases are on one server and are asked in turn, so that what else the machine does meets both alike.
BENCH_PAYMENTS=50000,500000 sets other sizes: two numbers of payments, each a multiple of 2,500.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import cache
from time import perf_counter
from typing import Any, NamedTuple

from bench.asking import ROUNDS, RUNS, Question, in_turn, no_filter, read_whole
from bench.figures import Figure, alternating
from bench.ground import DATA_KEYS, Ground, ground, migrated_database
from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.facts import Event, ObjectName, PaymentFact, PaymentStatus
from gatehouse.intake.record import Delivery, record
from gatehouse.models import browse, memberships, products
from gatehouse.models.memberships import Wanted
from gatehouse.sealing import Keyring
from local.postgres import PostgresServer
from tests.support.gatehouse_database import GatehouseDatabase

PAYMENTS_EACH = 5  # of a patient
LARGE_CLINIC = "clinic-large"  # as large in both sizes
SIZES = "500000,5000000"
MOST_TIMES_DEARER = 1.5
MOST_MILLISECONDS = 50.0

BEGAN = datetime(2025, 1, 1, 12, tzinfo=UTC)
PRODUCTS = {
    "Testosterone Cypionate": "TRT",
    "Semaglutide 2.5mg": "Weight Loss",
    "BPC-157": "Peptides",
    "Tadalafil 5mg": "ED",
    "NAD+ booster": "Uncategorized",
}
NAMES = ("Ada", "Bob", "Cleo", "Dan", "Eve", "Finn", "Gia")
NOTHING = "\\N"  # as COPY writes null
FILLED = ("merchants", "product_categories", "payments", "invoices", "memberships", "membership_counts")
STATUSES = ("active", "active", "active", "active", "past_due", "paused", "canceled", "active")
PAYMENT_COLUMNS = (
    "id, merchant, gateway, account, livemode, status, amount_minor, received_minor, currency, customer_ref, source,"
    " invoice_ref, subscription_ref, surcharge_minor, first_fact_at, last_fact_at, completed_at, product_name,"
    " product_category, is_recurring"
)
INVOICE_COLUMNS = (
    "id, merchant, gateway, account, livemode, gateway_id, status, number, total_minor, currency, customer_ref,"
    " customer_name, lines, first_fact_at, last_fact_at"
)
MEMBERSHIP_COLUMNS = (
    "merchant, gateway, account, livemode, customer_ref, category, name, email, product_name, status_by_rule,"
    " started_at, last_payment_at, next_expected_at, renews_every, amount_minor, currency, payment_count,"
    " google_review_submitted, referral_source, fulfillment_type"
)


class Patient(NamedTuple):
    """One patient of a clinic; everything follows from the number, whatever the clinic."""

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

    @property
    def status(self) -> str:
        """Return the status of the patient's membership."""
        return STATUSES[self.number % 8]

    def paid_at(self, payment: int) -> str:
        """Return when a payment came in."""
        return (BEGAN + timedelta(days=self.number % 300 + 30 * payment)).isoformat()


def payments_of(patient: Patient) -> list[str]:
    """Return each payment as COPY takes it, from the mode on; the newest one of who is past due failed."""
    product, lines = patient.product, []
    for each in range(PAYMENTS_EACH):
        at = patient.paid_at(each)
        status, received, completed = "completed", "20596", at
        if each == PAYMENTS_EACH - 1 and patient.status == "past_due":
            status, received, completed = "failed", NOTHING, NOTHING
        lines.append(
            f"t\t{status}\t20596\t{received}\tUSD\t{patient.code}\tRecurring\t{patient.code}-{each}\tS-{patient.code}\t"
            f"696\t{at}\t{at}\t{completed}\t{product}\t{PRODUCTS[product]}\tt\n"
        )
    return lines


def invoices_of(patient: Patient) -> list[str]:
    """Return the invoice of each payment as COPY takes it, from the mode on."""
    return [
        f"t\t{patient.code}-{each}\tpaid\t{patient.number}-{each}\t19900\tUSD\t{patient.code}\t{patient.name}\t"
        f'[{{"product": "{patient.product}"}}]\t{patient.paid_at(each)}\t{patient.paid_at(each)}\n'
        for each in range(PAYMENTS_EACH)
    ]


def membership_of(patient: Patient) -> list[str]:
    """Return the membership as COPY takes it, from the mode on."""
    number, product = patient.number, patient.product
    came_in = PAYMENTS_EACH - (patient.status == "past_due")
    started, last, following = (patient.paid_at(each) for each in (0, came_in - 1, came_in))
    return [
        f"t\t{patient.code}\t{PRODUCTS[product]}\t{patient.name}\tp{number}@example.com\t{product}\t{patient.status}\t"
        f"{started}\t{last}\t{following}\tmonth\t19900\tUSD\t{came_in}\t{'ft'[number % 3 == 0]}\t"
        f"{('Google', 'A friend', NOTHING)[number % 3]}\t{('Ship', 'Office', NOTHING)[number % 3]}\n"
    ]


class Size(NamedTuple):
    """How many payments, of how many clinics, and how many patients the large clinic has besides."""

    payments: int
    clinics: int = 500
    large_patients: int = 20_000

    @property
    def patients(self) -> int:
        """Return how many patients each clinic has."""
        return self.payments // (self.clinics * PAYMENTS_EACH)

    def clinic_of(self, run: int) -> str:
        """Return one of the clinics; those of runs that follow each other lie far apart."""
        return f"clinic-{run * 37 % self.clinics}"

    def lines(self, of_patient: Callable[[Patient], list[str]], *, first_id: int | None = 1) -> Iterator[str]:
        """Give what COPY takes of all patients: merchant, gateway and account before each line, and first its id."""
        made = cache(of_patient)  # the same in each clinic
        clinics = [(f"clinic-{clinic}", self.patients) for clinic in range(self.clinics)]
        number = first_id
        for merchant, patients in (*clinics, (LARGE_CLINIC, self.large_patients)):
            begin = f"{merchant}\tmx_merchant\t{merchant}\t"
            for patient in range(patients):
                for line in made(Patient(patient)):
                    if number is None:
                        yield begin + line
                    else:
                        yield f"{number}\t{begin}{line}"
                        number += 1


def copy(server: PostgresServer, database: GatehouseDatabase, table: str, columns: str, rows: Iterable[str]) -> None:
    """Write rows by COPY, past the triggers."""
    with subprocess.Popen(
        [server.binaries / "psql", "--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", database.address,
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


def fill(server: PostgresServer, database: GatehouseDatabase, size: Size) -> None:
    """Write the clinics with their products, patients, payments and invoices."""
    indexes = database.sql(
        "select indexname::text, indexdef from pg_indexes where tablename in ('payments', 'memberships', 'invoices')"
        " and indexname not in (select conname from pg_constraint) and indexdef not like 'CREATE UNIQUE%'"
    )
    for name, _ in indexes:  # made again behind: one by one and sorted, they cost a fraction
        database.sql(f"drop index {name}")
    seconds = write(server, database, size)
    for _, definition in indexes:
        database.sql(definition)
    for table in FILLED:
        database.sql(f"vacuum analyze {table}")
    database.sql("select setval('payment_ids', 100000000), setval('subject_ids', 100000000), pg_stat_reset()")
    written = size.payments + size.large_patients * PAYMENTS_EACH
    print(f"  {written:,} payments are there; COPY took {seconds:.0f} s, {written / seconds:,.0f} a second", flush=True)


def write(server: PostgresServer, database: GatehouseDatabase, size: Size, *, first_id: int = 1) -> float:
    """Write the clinics with all that belongs to them; return how many seconds their payments took."""
    clinics = [*(f"clinic-{clinic}" for clinic in range(size.clinics)), LARGE_CLINIC]
    known = (
        f"{clinic}\t{name}\t{category}\tx\t{BEGAN.isoformat()}\n"
        for clinic in clinics
        for name, category in PRODUCTS.items()
    )
    copy(server, database, "merchants", "id, name", (f"{clinic}\t{clinic}\n" for clinic in clinics))
    copy(server, database, "product_categories", "merchant, product_name, category, reviewed_by, reviewed_at", known)
    began = perf_counter()
    copy(server, database, "payments", PAYMENT_COLUMNS, size.lines(payments_of, first_id=first_id))
    seconds = perf_counter() - began
    copy(server, database, "invoices", INVOICE_COLUMNS, size.lines(invoices_of, first_id=first_id))
    copy(server, database, "memberships", MEMBERSHIP_COLUMNS, size.lines(membership_of, first_id=None))
    database.sql("select repair_membership_counts(id) from merchants")
    return seconds


def questions(size: Size) -> dict[str, Question]:
    """Return every question, each for the clinic of a run; the clinics of the smaller size are there in both."""
    first_of: dict[tuple[Database, str], int] = {}

    def page(database: Database, merchant: str, wanted: Wanted = memberships.ANY, **options: Any) -> memberships.Page:
        return memberships.list_memberships(database, merchant, wanted, reader="bench", **options)

    def patient(database: Database, run: int) -> object:
        key = (database, size.clinic_of(run))
        if key not in first_of:
            first_of[key] = page(database, size.clinic_of(run), most=1).rows[0].id
        return memberships.find_patient(database, size.clinic_of(run), first_of[key], reader="bench")

    def listed(table: str, key: str | None = None, wanted: Callable[[int], object] = lambda _run: None) -> Question:
        """Return the question for a table's rows by one filter, as the API asks it."""

        def ask(database: Database, run: int) -> object:
            filters = no_filter(table) | ({key: wanted(run)} if key else {})
            return browse.list_rows(database, size.clinic_of(run), table, most=51, **filters)

        return ask

    def code(run: int) -> str:
        return f"CODE{run % size.patients:07}"

    large = LARGE_CLINIC
    of_large = f"of {size.large_patients:,}"
    four = Wanted(status=["past_due"], google_review_submitted=True, referral_source="Google", tab="ED")
    return {
        "tabs with counts": lambda db, run: memberships.count_tabs(db, size.clinic_of(run)),
        f"tabs with counts, {of_large} memberships": lambda db, _run: memberships.count_tabs(db, large),
        "memberships, a page by name": lambda db, run: page(db, size.clinic_of(run)),
        "memberships, a page of a tab": lambda db, run: page(db, size.clinic_of(run), Wanted(tab="TRT")),
        f"memberships, a page {of_large}, far in": lambda db, run: page(db, large, after=(f"eve ename{run}", 1)),
        f"memberships {of_large}, by last payment": lambda db, _run: page(db, large, sort="last_payment"),
        f"memberships {of_large}, four filters": lambda db, _run: page(db, large, four),
        f"memberships {of_large}, by the beginning of a name": lambda db, run: page(
            db, large, Wanted(text=f"ename{run}")
        ),
        f"memberships that were canceled, {of_large}": lambda db, _run: page(db, large, Wanted(status=["canceled"])),
        "a patient with payments and invoices": patient,
        "payments, newest first": listed("payments"),
        "payments of one patient": listed("payments", "customer_ref", code),
        "payments by text, a patient's code": listed("payments", "text", code),
        "payments of a rare status": listed("payments", "status", lambda _run: ["failed"]),
        "payments of a subscription": listed("payments", "subscription_ref", lambda run: f"S-{code(run)}"),
        "invoices, newest first": listed("invoices"),
        "invoices of one patient": listed("invoices", "customer_ref", code),
        "an invoice by its number": listed("invoices", "number", lambda run: f"{run % size.patients}-4"),
        "products": lambda db, run: products.list_products(db, size.clinic_of(run), reader="bench"),
        "products to be reviewed": lambda db, run: products.list_products(
            db, size.clinic_of(run), reader="bench", to_review=True
        ),
        "who read what": lambda db, run: memberships.list_reads(db, size.clinic_of(run), most=50),
    }


def recording(database: GatehouseDatabase, *, events: int = 60, rounds: int = 9) -> list[Figure]:
    """Measure an event of no member, with our triggers and without; and one of a member with a few payments."""
    intake, keyring = database.connect("intake"), Keyring(DATA_KEYS)
    account = GatewayAccount("mx_merchant", "clinic-0", "clinic-0", "both", ())
    numbers = iter(range(10**9))

    def recorded(**words: Any) -> float:
        begun = perf_counter()
        for _ in range(events):
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
            record(intake, Delivery(account, event, b"{}", BEGAN), keyring)
        return (perf_counter() - begun) * 1000 / events

    names = database.sql(
        "select tgname::text from pg_trigger where tgrelid = 'payments'::regclass"
        " and (tgname like 'classify%' or tgname like 'follow_recurring%')"
    )

    def without() -> float:
        for (name,) in names:
            database.sql(f"alter table payments disable trigger {name}")
        spent = recorded()
        for (name,) in names:
            database.sql(f"alter table payments enable trigger {name}")
        return spent

    try:
        plain = alternating(without, recorded, rounds=rounds)
        member = alternating(recorded, lambda: recorded(source="Recurring"), rounds=rounds)
    finally:
        intake.close()
    return [
        Figure("an event of no member (floor: no triggers)", plain.value, "ms", plain.floor, limit=1.05),
        Figure("an event of a member (floor: of no member)", member.value, "ms", member.floor),
    ]


def run() -> list[Figure]:
    """Measure at both sizes."""
    sizes = [Size(int(payments)) for payments in os.environ.get("BENCH_PAYMENTS", SIZES).split(",")]
    # Enough memory for both, as a server of that size has: else this would measure the machine's disk.
    with ground(shared_buffers="6GB", max_wal_size="8GB") as place:
        return measured(place, migrated_database(place.server), *sizes)


def measured(
    place: Ground, other: GatehouseDatabase, small: Size, large: Size, *, rounds: int = ROUNDS, runs: int = RUNS
) -> list[Figure]:
    """Fill both databases, ask every question of both in turn, and record events in the smaller one."""
    fill(place.server, place.database, small)
    fill(place.server, other, large)
    with closing(place.database.connect("api")) as first, closing(other.connect("api")) as second:
        spent = {
            name: in_turn(question, first, second, rounds=rounds, runs=runs)
            for name, question in questions(small).items()
        }
    whole = read_whole(other, FILLED)
    slowest = max(spent, key=lambda name: spent[name][1])
    return [
        *(
            Figure(f"{name}, p95 (floor: {small.payments:,})", at_large, "ms", at_small, limit=MOST_TIMES_DEARER)
            for name, (at_small, at_large) in spent.items()
        ),
        Figure(f"the slowest: {slowest}", spent[slowest][1], "ms", limit=MOST_MILLISECONDS),
        Figure(f"tables that any of them read whole {sorted(whole) or ''}", len(whole), "tables", limit=0),
        *recording(place.database),
    ]


if __name__ == "__main__":
    sys.exit("make bench ARGS=clinics")
