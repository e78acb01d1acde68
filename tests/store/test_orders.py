"""An order is made with its customer and items, whole or not at all, under a number that nobody else has."""

import re
from collections import Counter
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, cast

import pytest

from gatehouse.database.connection import Database
from gatehouse.errors import (
    ChangedMeanwhile,
    DuplicateEntry,
    IllegalStep,
    KeyReused,
    NotFound,
    QueryError,
    SettingError,
    ValidationError,
)
from gatehouse.models import orders
from gatehouse.models.customers import NewCustomer
from gatehouse.models.order_items import add_item_type, item_types
from gatehouse.models.orders import CreatedOrder, NewItem, NewOrder, Numbering, create_order, set_order_status
from tests.store.store import DEFAULT, FESTIVAL, JOHN, NUMBERING, PASSES, TOTAL, at_once
from tests.support.gatehouse_database import GatehouseDatabase

NOON = datetime(2026, 5, 15, 18, tzinfo=UTC)


def make(database: Database, **changes: Any) -> CreatedOrder:
    wanted: dict[str, Any] = {"order": FESTIVAL, "customer": JOHN, "items": PASSES, "numbering": NUMBERING, "at": NOON}
    return create_order(database, DEFAULT, **(wanted | changes))


@pytest.mark.req("P1", "P2", "P4")
def test_an_order_is_made_with_its_customer_and_items_in_one_flush(api: Database, ops: Database) -> None:
    api.query("select 1")
    before = api.statistics.flushes
    made = make(api, actor="shop")
    assert api.statistics.flushes == before + 1
    assert made.is_new
    assert made.order.number == "ALB-20260515-0001"
    assert (made.order.status, made.order.payment_state) == ("pending", "unpaid")
    assert (made.order.subtotal_minor, made.order.total_minor) == (30000, TOTAL)
    assert made.order.event_date == date(2026, 5, 15)
    assert made.customer.email == "John.Doe@example.com"
    assert [(item.item_type, item.quantity, item.attendee_email) for item in made.items] == [
        ("full_festival", 2, "Jane@Example.com")
    ]
    actors = ops.query("select distinct actor, table_name from payment_audit_log order by table_name")
    assert [(row["actor"], row["table_name"]) for row in actors] == [
        ("shop", "customers"),
        ("shop", "order_items"),
        ("shop", "orders"),
    ]


@pytest.mark.req("P1")
def test_a_customer_is_one_for_each_address_in_any_case(api: Database) -> None:
    first = make(api)
    second = make(api, customer=NewCustomer("JOHN.DOE@EXAMPLE.COM", last_name="Smith"))
    assert second.customer.id == first.customer.id
    assert (second.customer.first_name, second.customer.last_name) == ("John", "Smith")


@pytest.mark.req("P2")
@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("total_minor", {"order": FESTIVAL._replace(total_minor=TOTAL - 1)}),
        ("subtotal_minor", {"order": FESTIVAL._replace(subtotal_minor=15000)}),
        ("discount_minor", {"order": FESTIVAL._replace(discount_minor=40000)}),
        ("tax_minor", {"order": FESTIVAL._replace(tax_minor=-1)}),
        ("fee_minor", {"order": FESTIVAL._replace(fee_minor=cast("int", 1.5))}),
        ("currency", {"order": FESTIVAL._replace(currency="usd")}),
        ("reference", {"order": FESTIVAL._replace(reference="ALB-20260101-0001")}),
        ("reference", {"order": FESTIVAL._replace(reference=" ")}),
        ("event_date", {"order": FESTIVAL._replace(event_date=cast("date", "2026-05-15"))}),
        ("metadata", {"order": FESTIVAL._replace(metadata={"note": "x" * 20_000})}),
        ("items", {"items": ()}),
        ("items[0].total_minor", {"items": [PASSES[0]._replace(total_minor=15000)]}),
        ("items[0].quantity", {"items": [PASSES[0]._replace(quantity=0)]}),
        ("items[1].unit_minor", {"items": [PASSES[0], NewItem("vip", True)]}),
        ("items[0].unit_minor", {"items": [NewItem("vip", 2**63)]}),
        ("items[0].total_minor", {"items": [NewItem("vip", 2**62, 3)]}),
        ("items[1].item_type", {"items": [PASSES[0], NewItem("backstage", 100)]}),
        ("items[0].attendee_email", {"items": [PASSES[0]._replace(attendee_email="nobody")]}),
        ("email", {"customer": NewCustomer("not an address")}),
        ("first_name", {"customer": JOHN._replace(first_name="x" * 201)}),
        ("consent_at", {"customer": JOHN._replace(consent_at=datetime(2026, 1, 1))}),  # noqa: DTZ001 - the mistake that is refused
        ("idempotency_key", {"idempotency_key": "x" * 201}),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_kept(
    api: Database, ops: Database, field: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError) as refused:
        make(api, **changes)
    assert refused.value.field == field
    assert str(refused.value).startswith(f"{field}: ")
    assert ops.query("select id from orders union all select id from customers") == []


@pytest.mark.req("P2")
def test_tax_fee_and_discount_are_counted_apart(api: Database) -> None:
    made = make(api, order=FESTIVAL._replace(discount_minor=624, subtotal_minor=30000, total_minor=32000))
    assert (made.order.tax_minor, made.order.fee_minor, made.order.discount_minor) == (2024, 600, 624)
    assert made.order.total_minor == 32000


@pytest.mark.req("P2")
def test_an_order_that_costs_nothing_is_complete_at_once(api: Database) -> None:
    made = make(api, order=NewOrder("USD"), items=[NewItem("social_only", 0)])
    assert (made.order.status, made.order.payment_state) == ("completed", "paid")


@pytest.mark.req("P2")
def test_the_day_of_a_number_is_that_of_the_zone(api: Database) -> None:
    late = datetime(2026, 5, 16, 5, 59, tzinfo=UTC)  # still the 15th in Denver
    assert make(api, at=late).order.number == "ALB-20260515-0001"
    assert make(api, at=late, numbering=Numbering("FEST", "UTC")).order.number == "FEST-20260516-0001"


@pytest.mark.req("P2")
def test_the_ten_thousandth_of_a_day_has_five_digits(api: Database, gatehouse_database: GatehouseDatabase) -> None:
    gatehouse_database.sql("insert into order_counters values ('default', '2026-05-15', 9998)")
    assert [make(api).order.number[-6:] for _ in range(3)] == ["5-9999", "-10000", "-10001"]


@pytest.mark.req("P2")
@pytest.mark.parametrize(("prefix", "zone"), [("alb", "UTC"), ("", "UTC"), ("A-B", "UTC"), ("ALB", "Mars/Olympus")])
def test_a_wrong_prefix_or_zone_is_told(api: Database, prefix: str, zone: str) -> None:
    with pytest.raises(SettingError, match="ORDER_"):
        make(api, numbering=Numbering(prefix, zone))


@pytest.mark.req("P2")
@pytest.mark.pooler
def test_fifty_at_once_get_fifty_numbers_without_a_gap(many: list[Database], ops: Database) -> None:
    customers = [NewCustomer(f"guest{number % 10}@example.com", f"Guest {number}") for number in range(len(many))]
    made = at_once([partial(make, database, customer=customers[n]) for n, database in enumerate(many)])
    assert [each for each in made if isinstance(each, Exception)] == []
    numbers = sorted(each.order.number for each in made)
    assert numbers == [f"ALB-20260515-{place:04}" for place in range(1, 51)]
    assert sum(database.statistics.errors for database in many) == 0  # nobody had to try again
    assert ops.query_one("select count(*) as customers from customers")["customers"] == 10


@pytest.mark.req("P2")
def test_a_refused_order_leaves_no_gap(api: Database) -> None:
    make(api, order=FESTIVAL._replace(reference="web-1"))
    with pytest.raises(ValidationError, match="reference: another order has it"):
        make(api, order=FESTIVAL._replace(reference="web-1"))
    assert make(api).order.number == "ALB-20260515-0002"


@pytest.mark.req("P2")
def test_the_same_key_gives_the_same_order_and_another_content_is_refused(api: Database, ops: Database) -> None:
    first = make(api, idempotency_key="k-1")
    again = make(api, idempotency_key="k-1")
    assert (first.is_new, again.is_new) == (True, False)
    assert again[:3] == first[:3]
    with pytest.raises(KeyReused) as refused:
        make(api, idempotency_key="k-1", items=[PASSES[0]._replace(quantity=3, total_minor=None)])
    assert (refused.value.code, refused.value.http_status) == ("IDEMPOTENCY_CONFLICT", 409)
    assert ops.query_one("select count(*) as orders from orders")["orders"] == 1


@pytest.mark.req("P2")
@pytest.mark.pooler
def test_the_same_key_at_the_same_moment_makes_one_order(many: list[Database], ops: Database) -> None:
    made = at_once([partial(make, database, idempotency_key="same") for database in many[:20]])
    assert Counter(each.is_new for each in made) == {True: 1, False: 19}
    assert len({each.order.id for each in made}) == 1
    assert ops.query("select last_number from order_counters") == [{"last_number": 1}]


@pytest.mark.req("P1")
def test_item_types_are_data(api: Database) -> None:
    assert item_types(api, DEFAULT) == ["day_pass", "full_festival", "social_only", "vip", "workshop_only"]
    add_item_type(api, DEFAULT, "backstage")
    assert make(api, items=[NewItem("backstage", 100)]).items[0].item_type == "backstage"
    with pytest.raises(DuplicateEntry, match="backstage"):
        add_item_type(api, DEFAULT, "backstage")
    with pytest.raises(ValidationError, match="lower-case"):
        add_item_type(api, DEFAULT, "Back stage")


LEGAL = {
    "pending": {"processing", "completed", "failed", "cancelled"},
    "processing": {"completed", "failed", "cancelled"},
    "completed": {"partially_refunded", "refunded"},
    "partially_refunded": {"refunded"},
    "refunded": set(),
    "failed": set(),
    "cancelled": set(),
}
WAY_TO = {
    "pending": (),
    "processing": ("processing",),
    "completed": ("processing", "completed"),
    "partially_refunded": ("completed", "partially_refunded"),
    "refunded": ("completed", "refunded"),
    "failed": ("failed",),
    "cancelled": ("processing", "cancelled"),
}


@pytest.mark.req("P2")
@pytest.mark.parametrize("status", LEGAL)
def test_only_legal_steps_are_taken(api: Database, status: str) -> None:
    for wanted in orders.STATUSES:
        order = make(api).order
        for step in WAY_TO[status]:
            order = set_order_status(api, DEFAULT, order.id, step)
        assert order.status == status
        if wanted in LEGAL[status]:
            assert set_order_status(api, DEFAULT, order.id, wanted).status == wanted
            continue
        with pytest.raises(IllegalStep) as refused:
            set_order_status(api, DEFAULT, order.id, wanted)
        assert (refused.value.http_status, set(refused.value.allowed)) == (409, LEGAL[status])
        assert orders.find_order(api, DEFAULT, order.id) == order


@pytest.mark.req("P2")
def test_a_step_of_somebody_who_saw_an_older_order_is_refused(api: Database) -> None:
    order = make(api).order
    moved = set_order_status(api, DEFAULT, order.id, "processing", expected_version=order.version)
    assert moved.version == order.version + 1
    with pytest.raises(ChangedMeanwhile):
        set_order_status(api, DEFAULT, order.id, "cancelled", expected_version=order.version)
    with pytest.raises(ValidationError, match="status: must be one of"):
        set_order_status(api, DEFAULT, order.id, "paid")
    with pytest.raises(NotFound):
        set_order_status(api, DEFAULT, 1, "processing")


@pytest.mark.req("P2", "P14")
def test_another_merchants_order_is_not_there(api: Database, ops: Database) -> None:
    ops.query("insert into merchants (id, name) values ('other', 'Other')")
    order = make(api).order
    with pytest.raises(NotFound):
        orders.find_order(api, "other", order.id)
    with pytest.raises(NotFound):
        set_order_status(api, "other", order.id, "cancelled")
    with pytest.raises(QueryError, match="for which merchant"):
        api.query("select create_order('{}', '{}', '[]', 'A', 'UTC', now(), null, null)")


@pytest.mark.req("P2")
def test_an_order_number_has_its_form(api: Database) -> None:
    assert re.fullmatch(r"ALB-\d{8}-\d{4}", create_order(api, DEFAULT, FESTIVAL, JOHN, PASSES).order.number)
