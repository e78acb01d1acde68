"""`gatehouse payments refold`: what somebody changed by hand is told, and made again what the facts say."""

import itertools
import threading
import time
from typing import Any

import pytest

from cli.progress import SECONDS_BETWEEN_LINES, followed
from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.facts import (
    CustomerFact,
    DisputeFact,
    DisputeStatus,
    Fact,
    InvoiceFact,
    InvoiceStatus,
    ObjectName,
    PaymentFact,
    PayoutFact,
    PayoutStatus,
    RefundFact,
    RefundStatus,
    SubscriptionFact,
    SubscriptionStatus,
)
from gatehouse.intake import refold
from gatehouse.intake.record import account_lock
from gatehouse.intake.refold import Batch, Chosen, Place, refold_many, refold_payment
from gatehouse.sealing import Keyring
from tests.cli.conftest import Command
from tests.cli.test_explain import tell
from tests.intake.linked_stories import PAID
from tests.support.gatehouse_database import GatehouseDatabase

CHARGE, PI = ObjectName("charge", "ch_1"), ObjectName("payment_intent", "pi_1")
TABLES = ("gateway_customers", "invoices", "payouts", "refunds", "disputes", "subscriptions", "payments")
BY_HAND = {  # one wrong value of each kind, and what it must become
    "customer": ("gateway_customers", "email", "wrong@example.com", "planted@example.com"),
    "invoice": ("invoices", "status", "void", "paid"),
    "payout": ("payouts", "amount_minor", 1, 9),
    "refund": ("refunds", "status", "failed", "completed"),
    "dispute": ("disputes", "status", "lost", "won"),
    "subscription": ("subscriptions", "plan", "wrong", "gold"),
    "payment": ("payments", "received_minor", 1, 1000),
}


@pytest.fixture
def payment(intake: Database, keyring: Keyring, ops: Database) -> int:
    """Return the number of a payment that is known by two names, with one row of every other kind beside it."""
    tell(intake, keyring, "evt_a", 1, PAID._replace(objects=(CHARGE,)))
    tell(intake, keyring, "evt_b", 2, PaymentFact(objects=(PI,), reference="A-1"))
    tell(intake, keyring, "evt_c", 3, PaymentFact(objects=(CHARGE, PI), subscription_ref="sub_1"))
    others: tuple[Fact, ...] = (
        CustomerFact(objects=(ObjectName("customer", "cus_1"),), email="planted@example.com", user_id="u1"),
        InvoiceFact(objects=(ObjectName("invoice", "in_1"),), status=InvoiceStatus.PAID),
        PayoutFact(
            objects=(ObjectName("payout", "po_1"),), status=PayoutStatus.SETTLED, amount_minor=9, currency="EUR"
        ),
        RefundFact(
            objects=(ObjectName("refund", "re_1"),),
            payment=(CHARGE,),
            status=RefundStatus.COMPLETED,
            amount_minor=400,
            currency="EUR",
        ),
        DisputeFact(objects=(ObjectName("dispute", "dp_1"),), payment=(CHARGE,), status=DisputeStatus.WON),
        SubscriptionFact(
            objects=(ObjectName("subscription", "sub_1"),),
            status=SubscriptionStatus.ACTIVE,
            plan="gold",
            customer_ref="cus_1",
        ),
    )
    for second, fact in enumerate(others, 10):
        tell(intake, keyring, f"evt_{second}", second, fact)
    return int(ops.query_one("select id from payments where merged_into is null")["id"])


def spoil(database: GatehouseDatabase, kind: str) -> None:
    """Change a row by hand, past every trigger that would fold what hangs on it."""
    table, column, wrong, _right = BY_HAND[kind]
    database.sql(f"update {table} set {column} = '{wrong}'{' where merged_into is null' if kind == 'payment' else ''}")


def rows(database: GatehouseDatabase) -> Any:
    """Return all that is folded."""
    return {table: database.sql(f"select to_jsonb(t)::text from {table} t order by id") for table in TABLES}


@pytest.mark.req("G9", "O5")
@pytest.mark.usefixtures("payment")
@pytest.mark.parametrize("kind", BY_HAND)
def test_a_wrong_value_of_any_kind_is_told_and_made_right(
    kind: str, gatehouse: Command, gatehouse_database: GatehouseDatabase
) -> None:
    right = rows(gatehouse_database)
    spoil(gatehouse_database, kind)
    wrong_rows = rows(gatehouse_database)
    assert wrong_rows != right
    _table, column, wrong, value = BY_HAND[kind]
    told = "(personal) → (personal)" if column == "email" else f"{wrong} → {value}"

    tried = gatehouse("payments", "refold", "--all", "--dry-run")
    assert tried.returncode == 3, tried.stderr
    assert f"  {column}  {told}" in tried.stdout
    assert "(nothing was changed)" in tried.stdout
    assert rows(gatehouse_database) == wrong_rows

    made = gatehouse("payments", "refold", "--all")
    assert made.returncode == 3
    assert f"  {column}  {told}" in made.stdout
    assert rows(gatehouse_database) == right
    again = gatehouse("payments", "refold", "--all")
    assert (again.returncode, again.stdout) == (0, "no differences in 7 rows\n")


@pytest.mark.req("G9", "O5")
@pytest.mark.usefixtures("payment")
def test_what_follows_is_told_too(gatehouse: Command, gatehouse_database: GatehouseDatabase) -> None:
    """A customer that is made right gives its user to the subscription, and that to the payment."""
    right = rows(gatehouse_database)
    gatehouse_database.sql("update gateway_customers set user_id = 'u-wrong'")
    told = gatehouse("payments", "refold", "--all").stdout
    for kind in ("customer", "subscription", "payment"):
        assert any(line.startswith(f"{kind} ") and "user_id" in line for line in told.splitlines()), told
    assert rows(gatehouse_database) == right


@pytest.mark.req("G9", "O5")
def test_one_payment_is_made_anew_with_its_refunds_and_by_any_number_that_it_had(
    payment: int, gatehouse: Command, gatehouse_database: GatehouseDatabase
) -> None:
    right = rows(gatehouse_database)
    spoil(gatehouse_database, "refund")
    spoil(gatehouse_database, "payment")
    [[joined_away]] = gatehouse_database.sql("select id from payments where merged_into is not null")
    told = gatehouse("payments", "refold", str(joined_away))
    assert told.returncode == 3, told.stderr
    assert told.stdout.splitlines()[-1] == "2 differences"
    assert f"payment {payment}  received_minor  1 → 1000" in told.stdout
    assert rows(gatehouse_database) == right
    assert gatehouse("payments", "refold", "A-1").returncode == 0


@pytest.mark.req("G9")
def test_only_what_was_said_since_then_and_only_after_a_row(
    payment: int, gatehouse: Command, gatehouse_database: GatehouseDatabase
) -> None:
    spoil(gatehouse_database, "payment")
    nothing = gatehouse("payments", "refold", "--since", "2026-06-01T00:00Z")
    assert (nothing.returncode, nothing.stdout) == (0, "no differences in 0 rows\n")
    nothing = gatehouse("payments", "refold", "--all", "--after", f"payment/{payment}")
    assert (nothing.returncode, nothing.stdout) == (0, "no differences in 0 rows\n")
    assert gatehouse("payments", "refold", "--since", "2026-01-01T00:00Z", "--after", "payment/0").returncode == 3


@pytest.mark.req("O5")
@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "name one payment, or give --since or --all"),
        (("1", "--all"), "name one payment"),
        (("1", "--after", "payment/1"), "--after goes with"),
        (("--all", "--after", "payments"), "must be a kind and a number"),
        (("--since", "yesterday"), "is not a time with a zone"),
    ],
)
def test_what_cannot_be_meant_is_told(arguments: tuple[str, ...], word: str, gatehouse: Command) -> None:
    told = gatehouse("payments", "refold", *arguments)
    assert told.returncode == 2
    assert word in " ".join(told.stderr.replace("│", " ").split())


@pytest.mark.req("G9")
def test_many_rows_in_small_batches_and_stopped_between_them(
    intake: Database,
    ops: Database,
    keyring: Keyring,
    gatehouse_database: GatehouseDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refold, "ROWS_A_BATCH", 3)
    monkeypatch.setattr(refold, "ROWS_A_WINDOW", 5)
    for number in range(20):
        tell(intake, keyring, f"evt_{number}", 1, PAID._replace(objects=(ObjectName("charge", f"ch_{number}"),)))
    right = rows(gatehouse_database)
    gatehouse_database.sql("update payments set received_minor = 1")
    steps = refold_many(ops, Chosen())
    first = list(itertools.islice(steps, 3))
    steps.close()  # type: ignore[attr-defined]  # as when the process ends here
    done = sum(batch.rows for batch in first)
    assert gatehouse_database.sql("select count(*)::int from payments where received_minor = 1") == [[20 - done]]
    rest = list(refold_many(ops, Chosen(after=first[-1].done)))
    assert sum(batch.rows for batch in rest) == 20 - done
    assert sum(len(batch.differences) for batch in (*first, *rest)) == 20
    assert rows(gatehouse_database) == right


@pytest.mark.req("G9")
def test_a_recording_under_way_is_no_difference(
    payment: int, ops: Database, gatehouse_database: GatehouseDatabase
) -> None:
    other = gatehouse_database.connect("owner")
    found: list[Any] = []
    with other.transaction() as transaction:
        transaction.query("update payments set received_minor = received_minor where id = :id", id=payment)
        folding = threading.Thread(target=lambda: found.append(refold_payment(ops, payment)))
        folding.start()
        time.sleep(0.3)
        assert folding.is_alive()
    folding.join()
    assert found == [[]]
    other.close()


@pytest.mark.req("G9")
def test_those_who_record_are_waited_for(ops: Database, gatehouse_database: GatehouseDatabase) -> None:
    account = GatewayAccount("stripe", "default", "default", "both")
    other = gatehouse_database.connect("intake")
    with other.transaction(merchant="default") as recording:
        recording.flush([account_lock(account)])
        waiting = threading.Thread(target=refold.wait_for_recordings, args=(ops, [account]))
        waiting.start()
        time.sleep(0.3)
        assert waiting.is_alive()
    waiting.join(timeout=5)
    assert not waiting.is_alive()
    other.close()


@pytest.mark.req("O5")
def test_how_far_it_has_come_and_where_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    moments = itertools.count(0.0, SECONDS_BETWEEN_LINES)

    def batches() -> Any:
        yield Batch(Place("payment", 100), 100, [])
        yield Batch(Place("payment", 200), 100, [])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(followed(batches(), {"payment": 400}, clock=lambda: next(moments)))
    told = capsys.readouterr().err
    assert "payment/200: 200 rows, 33 a second, about 4 seconds left of this kind" in told
    assert "Go on with --after payment/200" in told
