"""A clinic's recurring payment on its way: webhook, details, invoice, category, membership, another category."""

import json
from typing import Any

import httpx
import pytest

from tests.support.postgres import run_sql
from tests.support.stack import RunningStack, wait_until

EVENT: dict[str, Any] = {
    "eventType": "PaymentSuccess",
    "merchantId": "418355562",
    "id": "4000000099000001",
    "invoiceId": "10990001",
    "invoiceNumber": "9901",
    "transactionDate": "Aug 5 2026 10:02AM",
    "transactionTypeName": "Sale",
    "paymentType": "Card",
    "totalAmount": 199,
    "customer": "Ada Clinicpatient",
    "customerNumber": "ENDTOEND01",
    "source": "Recurring",
}


@pytest.mark.req("M1", "M2", "M3", "M4", "M9")
def test_a_recurring_payment_becomes_a_membership_whose_product_is_reviewed(running_stack: RunningStack) -> None:
    facts = running_stack.facts
    assert running_stack.send("mx_merchant", json.dumps(EVENT).encode())[0] == 200
    with httpx.Client(base_url=facts["api_url"], timeout=30, trust_env=False) as client:
        client.headers["authorization"] = f"Bearer {facts['api_key']}"

        def is_in(category: str) -> bool:
            one = f"customer_ref = 'ENDTOEND01' and category = '{category}'"
            return bool(run_sql(facts["database_url"], f"select id from memberships where {one}"))

        def found(category: str) -> list[dict[str, Any]]:
            asked = client.get("/api/memberships", params={"text": "ENDTOEND01", "tab": category})
            assert asked.status_code == 200, asked.text
            items: list[dict[str, Any]] = asked.json()["items"]
            return items

        wait_until(lambda: is_in("Uncategorized"), seconds=60)
        (member,) = found("Uncategorized")
        assert (member["status"], member["name"], member["product_name"] is None) == (
            "active",
            "Ada Clinicpatient",
            False,
        )
        to_review = client.get("/api/products/review").json()["items"]
        product = next(each for each in to_review if each["product_name"] == member["product_name"])
        assert product["suggested_category"] in ("TRT", "Weight Loss", "Peptides", "ED")
        path = f"/api/products/{product['id']}"
        tag = client.get(path).headers["etag"]
        category = {"category": product["suggested_category"]}
        done = client.patch(path, json=category, headers={"if-match": tag})
        assert (done.status_code, done.json()["reclassification"]["payments_planned"] >= 1) == (200, True), done.text
        wait_until(lambda: is_in(product["suggested_category"]), seconds=60)
        assert len(found(product["suggested_category"])) == 1
        assert found("Uncategorized") == []
        patient = client.get(f"/api/memberships/{member['id']}/patient").json()
        assert [each["product_category"] for each in patient["payments"]] == [product["suggested_category"]]
        assert [each["gateway_id"] for each in patient["invoices"]] == ["10990001"]
    shown = "\n".join(running_stack.lines)
    for word in ("Clinicpatient", "ENDTOEND01", member["product_name"]):
        assert word not in shown
