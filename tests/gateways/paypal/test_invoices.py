"""What is odd about PayPal's invoices, case by case: two shapes, and the dates of the older one."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from gatehouse.facts import Event, InvoiceFact, InvoiceStatus, ObjectName, PaymentFact
from gatehouse.gateways.paypal import translate
from gatehouse.gateways.paypal.invoices import moment_of_v1
from gatehouse.gateways.paypal.translate import facts_of_answer
from tests.support.paypal_events import SAMPLES, enveloped, event_of, only, told, usd

OLD = "invoicing.invoice.paid"
NEW = "invoicing.invoice.paid__v2"

pytestmark = pytest.mark.req("G2")


def invoice(event: Event) -> InvoiceFact:
    return only(InvoiceFact, event)


def told_v2(sample: str = NEW, event_type: str = "", **changes: object) -> Event:
    """Translate a v2 event whose invoice has been changed; a field set to ... is dropped."""
    payload = json.loads(SAMPLES[sample].read_text())
    inner = payload["resource"]["invoice"] | changes
    payload["resource"]["invoice"] = {key: value for key, value in inner.items() if value is not ...}
    return translate(payload | ({"event_type": event_type} if event_type else {}), "default")


class TestStatus:
    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ("DRAFT", InvoiceStatus.DRAFT),
            ("SCHEDULED", InvoiceStatus.DRAFT),
            ("SENT", InvoiceStatus.OPEN),
            ("UNPAID", InvoiceStatus.OPEN),
            ("PAYMENT_PENDING", InvoiceStatus.OPEN),
            ("PARTIALLY_PAID", InvoiceStatus.PARTIALLY_PAID),
            ("PAID", InvoiceStatus.PAID),
            ("MARKED_AS_PAID", InvoiceStatus.PAID),
            ("CANCELLED", InvoiceStatus.VOID),
            ("PARTIALLY_REFUNDED", InvoiceStatus.PARTIALLY_REFUNDED),
            ("REFUNDED", InvoiceStatus.REFUNDED),
            ("MARKED_AS_REFUNDED", InvoiceStatus.REFUNDED),
        ],
    )
    def test_is_what_it_says(self, said: str, status: InvoiceStatus) -> None:
        assert invoice(told(OLD, status=said)).status is status
        assert invoice(told_v2(status=said)).status is status

    @pytest.mark.parametrize("unknown", [..., None, 7, [], "WHOLLY_NEW"])
    @pytest.mark.parametrize(
        ("name", "status"),
        [
            ("CREATED", InvoiceStatus.DRAFT),
            ("SCHEDULED", InvoiceStatus.DRAFT),
            ("UPDATED", None),
            ("PAID", None),  # also sent for a part
            ("REFUNDED", None),
            ("CANCELLED", InvoiceStatus.VOID),
        ],
    )
    def test_that_is_not_said_is_what_the_name_says(
        self, name: str, status: InvoiceStatus | None, unknown: object
    ) -> None:
        assert invoice(told_v2(event_type=f"INVOICING.INVOICE.{name}", status=unknown)).status is status

    def test_paid_when_the_payment_says_else_when_the_event_does(self) -> None:
        assert invoice(event_of(OLD)).paid_at == datetime(2015, 9, 28, 21, 37, 13, tzinfo=UTC)
        assert invoice(event_of(NEW)).paid_at == event_of(NEW).occurred_at
        assert invoice(told_v2(status="PARTIALLY_PAID")).paid_at is None
        assert invoice(told_v2(event_type="INVOICING.INVOICE.UPDATED")).paid_at is None


class TestShapes:
    def test_an_answer_is_not_wrapped(self) -> None:
        payload = json.loads(SAMPLES[NEW].read_text())
        (answered, link) = facts_of_answer("invoice", payload["resource"]["invoice"])
        assert isinstance(answered, InvoiceFact)
        assert answered == invoice(event_of(NEW))._replace(paid_at=None)
        assert isinstance(link, PaymentFact)

    def test_v1(self) -> None:
        found = invoice(event_of("invoicing.invoice.created"))
        assert (found.number, found.total_minor, found.currency, found.email) == (
            "8035",
            50000,
            "USD",
            "example@example.com",
        )
        assert found.lines == [{"product": "Sutures", "description": "Sutures", "amount_minor": 50000, "quantity": 100}]

    def test_v2(self) -> None:
        found = invoice(event_of(NEW))
        assert (found.number, found.total_minor, found.paid_minor, found.due_minor) == ("2026-0042", 2500, 2500, 0)
        assert (found.email, found.metadata) == ("jane.buyer@example.com", {"reference": "PO-77"})
        assert found.due_at is None  # a day without a zone

    def test_no_address_of_the_invoice_is_kept(self) -> None:
        assert "recipient_view_url" not in repr(event_of(NEW))
        assert "paypal.com/invoice" not in repr(event_of(NEW))

    @pytest.mark.parametrize("no_id", [None, "", 7, {}, ...])
    def test_an_invoice_without_a_name_is_refused_and_kept(self, no_id: object) -> None:
        for event in (told(OLD, id=no_id), told_v2(id=no_id)):
            assert (event.facts, event.refused_because) == ((), "the resource has no id")

    @pytest.mark.parametrize("wrong", [None, 7, "x", [], [None], {}, {"detail": 7}])
    def test_fields_of_another_type_say_nothing(self, wrong: Any) -> None:
        for name in ("total_amount", "items", "billing_info", "payments", "paid_amount", "metadata", "payment_term"):
            assert invoice(told(OLD, **{name: wrong})).number == "MM00063"
        for name in ("amount", "items", "primary_recipients", "payments", "due_amount"):
            assert invoice(told_v2(**{name: wrong})).number == "2026-0042"


class TestAmounts:
    def test_paid_through_paypal_and_otherwise_together(self) -> None:
        both = {"paypal": {"currency": "USD", "value": "1.00"}, "other": {"currency": "USD", "value": "0.50"}}
        assert invoice(told(OLD, paid_amount=both)).paid_minor == 150
        both["other"]["currency"] = "EUR"
        assert invoice(told(OLD, paid_amount=both)).paid_minor is None

    def test_in_another_currency_than_the_invoice(self) -> None:
        euros = {"currency_code": "EUR", "value": "1.00"}
        found = invoice(told_v2(due_amount=euros, payments={"paid_amount": euros}))
        assert (found.due_minor, found.paid_minor, found.total_minor) == (None, None, 2500)

    @pytest.mark.parametrize(
        ("quantity", "amount_minor", "written"),
        [
            ("1.5", 1500, "1.5"),
            ("2", 2000, 2),
            (2, 2000, 2),
            (Decimal("2.0"), 2000, 2),
            (Decimal("0.25"), 250, "0.25"),
            ("0.0001", None, "0.0001"),  # a tenth of a cent
            (None, None, None),
            ("many", None, None),
            (True, None, None),
            (-1, None, None),
            (10**30, None, None),
        ],
    )
    def test_of_a_line(self, quantity: object, amount_minor: int | None, written: object) -> None:
        found = invoice(told_v2(items=[{"name": "X", "quantity": quantity, "unit_amount": usd("10.00")}]))
        line = {"product": "X", "description": "X", "amount_minor": amount_minor, "quantity": written}
        assert found.lines == [{word: value for word, value in line.items() if value is not None}]
        json.dumps(found.lines)


class TestTimes:
    @pytest.mark.parametrize(
        ("said", "at"),
        [
            ("2015-09-28 14:37:13 PDT", datetime(2015, 9, 28, 21, 37, 13, tzinfo=UTC)),
            ("2015-12-28 14:37:13 PST", datetime(2015, 12, 28, 22, 37, 13, tzinfo=UTC)),
            ("2015-09-28 14:37:13 UTC", datetime(2015, 9, 28, 14, 37, 13, tzinfo=UTC)),
            ("2015-09-28 14:37:13 GMT", datetime(2015, 9, 28, 14, 37, 13, tzinfo=UTC)),
            ("2015-09-28 PDT", datetime(2015, 9, 28, 7, tzinfo=UTC)),
            ("2015-09-28T14:37:13Z", datetime(2015, 9, 28, 14, 37, 13, tzinfo=UTC)),
            ("2015-09-28 14:37:13 CST", None),  # of America, China or Cuba
            ("2015-09-28 14:37:13", None),
            ("2015-09-28", None),
            ("2015-13-28 14:37:13 PDT", None),
            ("2015-09-28 24:61:13 PDT", None),
            ("2015-09-28 14:37:13 PDT ", None),
            ("", None),
            (None, None),
            (1443476233, None),
        ],
    )
    def test_of_v1(self, said: object, at: datetime | None) -> None:
        assert moment_of_v1(said) == at

    def test_issued_when_it_was_sent_else_on_its_own_date(self) -> None:
        assert invoice(event_of(OLD)).issued_at == datetime(2015, 9, 28, 21, 35, 47, tzinfo=UTC)
        assert invoice(told(OLD, metadata=...)).issued_at == datetime(2015, 9, 28, 7, tzinfo=UTC)
        assert invoice(event_of("invoicing.invoice.scheduled")).issued_at is None

    def test_the_last_of_several_payments_paid_it(self) -> None:
        payments = [{"date": f"2015-09-{day} 10:00:00 UTC"} for day in ("28", "30", "29")]
        assert invoice(told(OLD, payments=payments)).paid_at == datetime(2015, 9, 30, 10, tzinfo=UTC)


class TestPayments:
    def links(self, event: Event) -> list[PaymentFact]:
        return [fact for fact in event.facts if isinstance(fact, PaymentFact)]

    @pytest.mark.parametrize(("sample", "transaction"), [(OLD, "22592127VV907111U"), (NEW, "COMPOSED-SALE-2")])
    def test_are_only_linked_to(self, sample: str, transaction: str) -> None:
        event = event_of(sample)
        names = (ObjectName("transaction", transaction),)
        assert self.links(event) == [PaymentFact(names, invoice_ref=invoice(event).objects[0].id)]
        assert event.needs == ()

    @pytest.mark.parametrize(
        "payment",
        [
            {"type": "EXTERNAL", "transaction_id": "CHEQUE-7"},
            {"type": "PAYPAL"},
            {"type": "PAYPAL", "transaction_id": 7},
            {"transaction_id": "T1"},
            None,
        ],
    )
    def test_that_are_none_of_paypals(self, payment: object) -> None:
        assert self.links(told(OLD, payments=[payment])) == []
        assert self.links(told_v2(payments={"transactions": [payment]})) == []

    def test_an_authorisation_is_one(self) -> None:
        paid = {"type": "PAYPAL", "payment_id": "A1", "transaction_type": "AUTHORIZATION"}
        (link,) = self.links(told_v2(payments={"transactions": [paid]}))
        assert link.objects == (ObjectName("authorization", "A1"),)

    def test_each_is_linked_once(self) -> None:
        paid = [{"type": "PAYPAL", "transaction_id": each} for each in ("T1", "T2", "T1")]
        assert [link.objects[0].id for link in self.links(told(OLD, payments=paid))] == ["T1", "T2"]

    def test_an_event_of_no_time_is_asked_for(self) -> None:
        assert [need.arguments["kind"] for need in enveloped(NEW, create_time=None).needs] == ["invoice"]
