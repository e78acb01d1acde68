"""Products get their category: by the merchant's list, by a person, and afterwards too, in steps."""

from typing import Any
from uuid import uuid4

import pytest

from gatehouse.database.connection import Database
from gatehouse.errors import ChangedMeanwhile, NotFound, ValidationError
from gatehouse.jobs.claim import Done, Held, Job
from gatehouse.membership.reclassify import reclassify
from gatehouse.models import memberships, products
from gatehouse.models.products import (
    classify_again,
    find_reclassification,
    list_products,
    put_products,
    read_csv,
    set_category,
    step_reclassification,
)
from gatehouse.sealing import Keyring
from tests.membership.clinic import ACME, categories, invoiced, known, paid, short, tell
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = pytest.mark.req("M2")

READER = "a test"


def job_of(reclassification: int, merchant: str = "default") -> Job:
    arguments = {"reclassification": reclassification}
    return Job(1, "reclassify", str(reclassification), merchant, arguments, 1, uuid4())


def number_of(api: Database, name: str) -> int:
    return next(each.id for each in list_products(api, "default", reader=READER).rows if each.product_name == name)


def test_a_product_is_looked_up_as_it_is_written_then_without_case_and_spaces(
    intake: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    known(gatehouse_database, {"Testosterone 200mg": "TRT", "TESTOSTERONE 200MG": "Men"})
    tell(
        intake,
        keyring,
        *(invoiced(f"i{place}", name) for place, name in enumerate(
            ("Testosterone 200mg", "TESTOSTERONE 200MG", " testosterone\u00a0200 mg ", "Testosterone 250mg"))),
        *(paid(f"p{place}", "C", place, invoice_ref=f"i{place}") for place in range(4)),
        paid("p4", "C", 4, source="QuickPay"),
        paid("p5", "C", 5, invoice_ref="not there yet"),
    )  # fmt: skip
    assert {name: category for name, (_, category) in categories(gatehouse_database).items()} == {
        "p0": "TRT",
        "p1": "Men",
        "p2": "TRT",
        "p3": "Uncategorized",
        "p4": "Other",
        "p5": "Other",
    }
    assert categories(gatehouse_database)["p2"][0] == "testosterone\u00a0200 mg"


def test_an_invoice_that_comes_later_or_changes_is_followed(
    intake: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    known(gatehouse_database, {"A": "TRT", "B": "ED"})
    tell(intake, keyring, paid("p", "C", 0, invoice_ref="i"))
    assert (categories(gatehouse_database), short(gatehouse_database)) == (
        {"p": (None, "Other")},
        [("C", "Other", "active")],
    )
    tell(intake, keyring, invoiced("i", "A", "B"))
    assert (categories(gatehouse_database), short(gatehouse_database)) == (
        {"p": ("A", "TRT")},
        [("C", "TRT", "active")],
    )
    tell(intake, keyring, invoiced("i", "B", on=1))
    assert (categories(gatehouse_database), short(gatehouse_database)) == ({"p": ("B", "ED")}, [("C", "ED", "active")])
    tell(intake, keyring, invoiced("i", on=2))
    assert categories(gatehouse_database) == {"p": (None, "Other")}


def test_what_no_invoice_or_contract_is_about_is_left_alone(
    intake: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    tell(intake, keyring, paid("p", "C", 0, source=None))
    assert categories(gatehouse_database) == {"p": (None, None)}
    assert short(gatehouse_database) == []


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("Testosterone Cypionate 200mg/mL", "TRT"),
        ("Semaglutide 2.5", "Weight Loss"),
        ("TIRZEPATIDE", "Weight Loss"),
        ("Sema glutide", "Weight Loss"),
        ("BPC-157", "Peptides"),
        ("Sermorelin", "Peptides"),
        ("Sildenafil 50", "ED"),
        ("tadalafil", "ED"),
        ("ED pack", "ED"),
        ("Medical record fee", None),  # the letters are within a word
        ("Gift card", None),
    ],
)
def test_an_unknown_product_is_put_down_with_a_suggestion(
    intake: Database, api: Database, keyring: Keyring, name: str, category: str | None
) -> None:
    tell(intake, keyring, paid("p", "C", 0, invoice_ref="i"), invoiced("i", name))
    (found,) = list_products(api, "default", reader=READER, to_review=True).rows
    assert (found.product_name, found.category, found.suggested_category) == (name, "Uncategorized", category)
    assert (found.suggested_because is None) == (category is None)


def test_a_merchants_own_rule_comes_first(
    intake: Database, api: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    gatehouse_database.sql("insert into merchants (id, name) values ('acme', 'Acme')")
    gatehouse_database.sql(
        "insert into category_rules (merchant, word, category) values ('default', 'sema', 'Slim'), ('acme', 'xyz', 'X')"
    )
    tell(intake, keyring, paid("p", "C", 0, invoice_ref="i"), invoiced("i", "Semaglutide xyz"))
    (found,) = list_products(api, "default", reader=READER).rows
    assert (found.suggested_category, found.suggested_because) == ("Slim", "the name has sema")


def test_a_category_that_changes_is_followed_by_past_payments_and_memberships(
    intake: Database, api: Database, worker: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    """In steps of two payments: as when each step were another invocation, and the third one died half-way."""
    gatehouse_database.sql("insert into merchants (id, name) values ('acme', 'Acme')")
    invoices = [invoiced("i", "Testosterone"), invoiced("j", "testosterone"), invoiced("k", "Semaglutide")]
    payments = [paid(f"p{n}", f"C{n % 3}", n, invoice_ref="ij"[n % 2]) for n in range(7)]
    tell(intake, keyring, *invoices, *payments, paid("q", "C0", 0, invoice_ref="k"))
    tell(intake, keyring, invoices[0], payments[0], account=ACME)
    before = {row[0] for row in gatehouse_database.sql("select id from memberships where customer_ref = 'C0'")}
    ((noted,),) = gatehouse_database.sql(
        "select id::int from memberships where customer_ref = 'C1' and merchant = 'default'"
    )
    memberships.change_membership(
        api, "default", noted, {"status": "paused", "referral_source": "Google"}, reason="ill", actor="key 1"
    )
    product, begun = set_category(
        api, "default", number_of(api, "Testosterone"), "TRT", expected_version=1, actor="key 1"
    )
    assert (product.category, product.reviewed_by, product.version) == ("TRT", "key 1", 2)
    assert begun is not None
    assert (begun.payments_planned, begun.payments_changed, begun.finished_at) == (7, 0, None)

    step = step_reclassification(worker, begun.id, most=2)
    assert (step["payments_changed"], step["finished_at"]) == (2, None)
    with worker.transaction() as transaction:
        transaction.query(products.sql.step_reclassification, id=begun.id, most=2)
        transaction.undo()
    assert find_reclassification(api, "default", begun.id).payments_changed == 2
    while step_reclassification(worker, begun.id, most=2)["finished_at"] is None:
        pass
    done = find_reclassification(api, "default", begun.id)
    assert (done.payments_changed, done.memberships_changed, done.actor) == (7, 3, "key 1")
    assert step_reclassification(worker, begun.id)["payments_changed"] == 7

    paid_for = gatehouse_database.sql(
        "select merchant, product_key(product_name), product_category, count(*)::int from payments"
        " group by 1, 2, 3 order by 1, 2"
    )
    assert paid_for == [
        ["acme", "testosterone", "Uncategorized", 1],
        ["default", "semaglutide", "Uncategorized", 1],
        ["default", "testosterone", "TRT", 7],
    ]
    ours = gatehouse_database.sql(
        "select customer_ref, category, status, referral_source from memberships where merchant = 'default'"
        " order by 1, 2"
    )
    assert ours == [
        ["C0", "TRT", "active", None],
        ["C0", "Uncategorized", "active", None],
        ["C1", "TRT", "paused", "Google"],
        ["C2", "TRT", "active", None],
    ]
    assert gatehouse_database.sql("select category from memberships where merchant = 'acme'") == [["Uncategorized"]]
    assert before & {row[0] for row in gatehouse_database.sql("select id from memberships")}
    audited = gatehouse_database.sql(
        "select count(*)::int from payment_audit_log where table_name = 'payments' and actor = 'key 1'"
        " and changes -> 'product_category' = '[\"Uncategorized\", \"TRT\"]'"
    )
    assert audited == [[7]]


def test_two_memberships_that_become_one_keep_what_people_noted(
    intake: Database, api: Database, worker: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    known(gatehouse_database, {"A": "TRT"})
    told = [
        invoiced("i", "A"),
        invoiced("j", "B"),
        paid("p", "C", 0, invoice_ref="i"),
        paid("q", "C", 1, invoice_ref="j"),
    ]
    tell(intake, keyring, *told)
    for number, category in gatehouse_database.sql("select id::int, category from memberships"):
        note: Any = {"TRT": {"fulfillment_type": "Ship"}, "Uncategorized": {"google_review_submitted": True}}[category]
        memberships.change_membership(api, "default", number, note, actor="key 1")
    _, begun = set_category(api, "default", number_of(api, "B"), "TRT", actor="key 1")
    assert begun is not None
    assert step_reclassification(worker, begun.id)["memberships_changed"] == 1
    found = gatehouse_database.sql(
        "select category, fulfillment_type, google_review_submitted, payment_count from memberships"
    )
    assert found == [["TRT", "Ship", True, 2]]


def test_the_job_works_until_its_time_is_up_and_goes_on_later(
    intake: Database, api: Database, worker: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    tell(intake, keyring, invoiced("i", "A"), paid("p", "C", 0, invoice_ref="i"))
    _, begun = set_category(api, "default", number_of(api, "A"), "TRT", actor="key 1")
    assert begun is not None
    jobs = gatehouse_database.sql("select topic, merchant, status from jobs")
    assert jobs == [["reclassify", "default", "waiting"]]
    gatehouse_database.sql(f"update reclassifications set after_id = 0 where id = {begun.id}")
    late = iter((0.0, 1000.0))
    gatehouse_database.sql(
        "insert into payments (id, merchant, gateway, account, livemode, status, product_name, product_category,"
        " first_fact_at, last_fact_at) select nextval('payment_ids'), 'default', 'mx_merchant', 'default', true,"
        " 'pending', 'A', 'Uncategorized', now(), now() from generate_series(1, 500)"
    )
    assert isinstance(reclassify(job_of(begun.id), worker, clock=lambda: next(late)), Held)
    assert isinstance(reclassify(job_of(begun.id), worker), Done)
    assert find_reclassification(api, "default", begun.id).payments_changed == 501
    assert type(reclassify(job_of(4711), worker)).__name__ == "Hopeless"


def test_a_category_is_set_by_whoever_saw_the_product_as_it_is(
    api: Database, gatehouse_database: GatehouseDatabase
) -> None:
    known(gatehouse_database, {"A": "TRT"})
    number = number_of(api, "A")
    assert set_category(api, "default", number, "TRT", expected_version=1, actor="key 1")[1] is None
    with pytest.raises(ChangedMeanwhile):
        set_category(api, "default", number, "ED", expected_version=1, actor="key 1")
    for wrong in ("", " ", "All", "cancellations", "x" * 61, "a\nb"):
        with pytest.raises(ValidationError, match="category"):
            set_category(api, "default", number, wrong, actor="key 1")
    with pytest.raises(NotFound):
        set_category(api, "acme", number, "ED", actor="key 1")


@pytest.mark.req("M8")
def test_a_file_goes_out_and_comes_in_again(
    intake: Database, api: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    known(gatehouse_database, {"=A": "TRT", "B, with a comma": "ED"})
    tell(intake, keyring, invoiced("i", "C"), paid("p", "P", 0, invoice_ref="i"))
    text = products.as_csv(list_products(api, "default", reader=READER).rows)
    assert "'=A,TRT" in text
    said = read_csv(text.replace("C,Uncategorized", "C,Peptides"))
    assert said == [
        {"product_name": "=A", "category": "TRT"},
        {"product_name": "B, with a comma", "category": "ED"},
        {"product_name": "C", "category": "Peptides"},
    ]
    put, begun = put_products(api, "default", [*said, {"product_name": "D", "category": "Labs"}], actor="key 1")
    assert [each.outcome for each in put] == ["same", "same", "changed", "added"]
    assert [each.payments_planned for each in begun] == [1, 0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,category\nA,B\n", "no column product_name"),
        ("product_name,category\n", "says no category"),
        ("product_name,category\nA,Uncategorized\nB,\n", "says no category"),
        ("product_name,category\nA,TRT\n,ED\n", "line 3: product_name"),
        ("product_name,category\nA,All\n", "line 2: category"),
        ('product_name,category\n"A,TRT\n', "unexpected end"),
        ("", "no column"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        read_csv(text)


def test_payments_that_are_older_than_the_rules_are_classified_by_a_command(
    intake: Database, ops: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    known(gatehouse_database, {"A": "TRT"})
    tell(intake, keyring, invoiced("i", "A"), *(paid(f"p{n}", f"C{n}", n, invoice_ref="i") for n in range(5)))
    expected = short(gatehouse_database)
    gatehouse_database.sql(
        "set session_replication_role = replica;"
        "update payments set product_name = null, product_category = null, is_recurring = false;"
        "delete from memberships; delete from membership_counts"
    )
    steps = list(classify_again(ops, "default", most=2))
    assert [(step["payments"], step["payments_changed"], step["memberships_changed"]) for step in steps] == [
        (2, 2, 2),
        (2, 2, 2),
        (1, 1, 1),
    ]
    assert short(gatehouse_database) == expected
    assert sum(step["payments_changed"] for step in classify_again(ops, "default")) == 0
