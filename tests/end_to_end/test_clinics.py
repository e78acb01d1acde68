"""Clinics at MX Merchant from a list to their payments: imported, subscribed, checked, told, and brought up to date."""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from gatehouse.gateways.api_client import ANSWER_SECONDS
from local.gateway_apis import Fault, GatewayApi
from tests.end_to_end.test_ops_commands import done, gatehouse
from tests.support.gateway_samples import samples
from tests.support.postgres import run_sql
from tests.support.stack import RunningStack, run_now, wait_until

HEADING = ("merchant", "name", "environment", "merchant_id", "consumer_key", "consumer_secret", "token")
TOKENS = {"north": "n" * 48, "south": "s" * 48, "off": "o" * 48, "west": "w" * 48}
IDS = {"north": 7_000_001, "south": 7_000_002, "off": 7_000_003, "west": 7_000_004}


@pytest.fixture(scope="module")
def api(running_stack: RunningStack) -> GatewayApi:
    """The stand-in for MX Merchant."""
    [found] = [account.api for account in running_stack.supervisor.accounts if account.name == "mx_merchant"]
    assert found
    return found


@pytest.fixture(scope="module")
def clinics(running_stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> RunningStack:
    """The stack with three clinics; the key of one is refused."""
    file = tmp_path_factory.mktemp("clinics") / "clinics.csv"
    write(file, "north", "south", "off", refused=("off",))
    said = done(running_stack, "merchants", "import", str(file))
    assert "3 rows: 3 accounts added, 0 changed, 0 as they are; 3 merchants are new" in said
    assert "3 as they are" in done(running_stack, "merchants", "import", str(file))
    return running_stack


def write(file: Path, *clinics: str, refused: Sequence[str] = ()) -> None:
    """Write a list of clinics, of which some have keys that are refused."""
    keys = {name: "refused" if name in refused else name for name in clinics}
    rows = [(name, name.title(), "sandbox", IDS[name], keys[name], "secret", TOKENS[name]) for name in clinics]
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([HEADING, *rows])


def payment(number: int, clinic: str, **changes: Any) -> dict[str, Any]:
    """Return a payment as the API lists it."""
    return {
        "id": number,
        "merchantId": IDS[clinic],
        "type": "Sale",
        "status": "Approved",
        "amount": "120.5",
        "originalAmount": "120.5",
        "surchargeAmount": "0",
        "currency": "USD",
        "tenderType": "Card",
        "created": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "customerCode": f"P{number}",
        "customerName": "Pat Example",
        "source": "Recurring",
        "paymentToken": f"P_{number}",
        **changes,
    }


def tell(stack: RunningStack, clinic: str, number: int, **changes: Any) -> None:
    """Send the event of a clinic's payment; each is of an invoice of its own."""
    event = {
        **json.loads(samples("mx_merchant")["PaymentSuccess__2026"].read_bytes()),
        "merchantId": str(IDS[clinic]),
        "id": str(number),
        "invoiceId": f"1{number}",
        "invoiceNumber": f"{number}",
        **changes,
    }
    address = f"{stack.facts['api_url']}/webhooks/mx_merchant/{clinic}/{TOKENS[clinic]}"

    def taken() -> bool:
        """Tell whether it was taken; a clinic that was just added is known within a minute."""
        status = httpx.post(address, json=event, timeout=30, trust_env=False).status_code
        assert status in (200, 404)
        return status == 200

    wait_until(taken, seconds=75)


def rows(stack: RunningStack, clinic: str) -> list[list[Any]]:
    """Return a clinic's payments."""
    return run_sql(
        stack.facts["database_url"],
        "select o.object_id, p.status, p.livemode, p.source from payments p"
        f" join payment_objects o on o.payment_id = p.id where p.merchant = '{clinic}' order by 1",
    )


@pytest.mark.req("G13", "G7", "O5")
def test_webhooks_are_registered_mended_and_checked_and_no_token_is_shown(
    clinics: RunningStack, api: GatewayApi
) -> None:
    stack = clinics
    tried = gatehouse(stack, "merchants", "subscribe", "--all", "--dry-run")
    assert tried.returncode == 3  # one of them cannot be asked
    assert "north: would mend: PaymentSuccess missing, PaymentFail missing, RefundCreated missing" in tried.stdout
    assert "off: GATEWAY_KEY_REFUSED" in tried.stderr
    first = gatehouse(stack, "merchants", "subscribe", "--all")
    assert "off: GATEWAY_KEY_REFUSED" in first.stderr
    for clinic in ("north", "south"):
        assert f"{clinic}: mended: PaymentSuccess missing, PaymentFail missing, RefundCreated missing" in first.stdout
    assert re.search(r"^\d+ accounts: 0 as they should be, \d+ mended, 1 failed$", first.stdout, re.MULTILINE)
    again = gatehouse(stack, "merchants", "subscribe", "north")
    assert (again.returncode, again.stdout) == (0, "1 accounts: 1 as they should be, 0 mended, 0 failed\n")

    held = api.gateway._notifications  # type: ignore[attr-defined]  # what MX Merchant has, put out of order by hand
    of_north = {each["eventType"]: each for each in held.values() if each["merchantId"] == IDS["north"]}
    assert of_north["RefundCreated"]["callbackUrl"] == (
        f"{stack.facts['api_url']}/webhooks/mx_merchant/north/{TOKENS['north']}"
    )
    of_north["PaymentSuccess"]["sendWebhook"] = False
    moved = held.pop(str(of_north["PaymentFail"]["id"]))
    held["76"] = {**moved, "id": 76, "callbackUrl": moved["callbackUrl"] + "x"}
    held["77"] = {**of_north["RefundCreated"], "id": 77}
    held["78"] = {**of_north["RefundCreated"], "id": 78, "callbackUrl": "https://elsewhere.example.com/hook"}
    checked = gatehouse(stack, "merchants", "check")
    assert checked.returncode == 3
    lines = {line.split()[0]: line for line in checked.stdout.splitlines() if line.split()}
    assert (
        "PaymentSuccess switched off, PaymentFail wrong callback, RefundCreated duplicate; 1 lead elsewhere"
        in (lines["north"])
    )
    assert "taken" in lines["south"]
    assert "as they should be" in lines["south"]
    assert "GATEWAY_KEY_REFUSED" in lines["off"]
    mended = done(stack, "merchants", "subscribe", "north")
    assert "1 mended" in mended
    assert gatehouse(stack, "merchants", "check", "--merchant", "north").returncode == 0
    urls = [each["callbackUrl"] for each in held.values() if each["merchantId"] == IDS["north"]]
    assert len(urls) == 4
    assert all(each["sendWebhook"] for each in held.values())
    everything = (
        "".join(each.stdout + each.stderr for each in (tried, first, again, checked)) + mended + "\n".join(stack.lines)
    )
    assert not any(token in everything for token in TOKENS.values())


@pytest.mark.req("G14", "G7", "M7")
def test_reconcile_finds_a_clinics_payment_that_was_never_told(clinics: RunningStack, api: GatewayApi) -> None:
    stack = clinics
    api.gateway.remember(payment(880_001, "south"))
    api.gateway.remember(payment(880_002, "north"))
    command = ("reconcile", "--gateway", "mx_merchant", "--account", "south", "--days", "2")
    first = gatehouse(stack, *command)
    assert first.returncode == 3, first.stdout + first.stderr
    wait_until(lambda: rows(stack, "south"))
    assert rows(stack, "south") == [["880001", "completed", False, "Recurring"]]
    assert rows(stack, "north") == [], "nobody asked for that one"
    again = gatehouse(stack, *command)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "100 %" in again.stdout


@pytest.mark.req("M8", "G7")
def test_a_span_of_days_is_imported_from_the_gateway_and_details_follow(clinics: RunningStack, api: GatewayApi) -> None:
    stack = clinics
    for number in range(230):
        day = f"2026-03-{number % 28 + 1:02}T10:00:00.000Z"
        api.gateway.remember(payment(900_000 + number, "north", created=day))
    api.gateway.remember(payment(990_000, "north", created="2026-02-27T10:00:00.000Z"))
    span = ("import", "mx-merchant", "--merchant", "north", "--from", "2026-03-01", "--to", "2026-03-28")
    tried = done(stack, *span, "--dry-run")
    assert "north: 230 listed, 230 would be recorded, details of 230 would be asked for, 0 refused" in tried
    said = done(stack, *span)
    assert "north: 230 listed, 230 recorded, details of 230 asked for, 0 refused" in said
    found = [row for row in rows(stack, "north") if row[0].startswith("9")]
    assert len(found) == 230
    assert {tuple(row[1:]) for row in found} == {("completed", False, "Recurring")}
    assert gatehouse(stack, *span).returncode == 1, "it is through"
    again = done(stack, *span, "--again")
    assert "230 listed, 0 recorded, details of 0 asked for" in again
    refused = gatehouse(stack, "import", "mx-merchant", "--merchant", "off", *span[4:])
    assert refused.returncode == 1
    assert "401" in refused.stderr
    assert gatehouse(stack, *span[:4], "--from", "2026-03-02", "--to", "2026-03-01").returncode == 2


@pytest.mark.req("G7", "M8")
def test_a_clinic_that_is_switched_off_gets_nothing(clinics: RunningStack, tmp_path: Path) -> None:
    stack = clinics
    old = tmp_path / "old.csv"
    old.write_text("payment_id,amount,date,status,merchant_id\n1,2.50,2026-01-05T00:00:00Z,Settled,7000003\n")
    options = ("--gateway", "mx_merchant", "--account", "off")
    assert "1 would be recorded" in done(stack, "import", "payments", str(old), *options, "--dry-run")
    done(stack, "merchants", "disable", "off")
    refused = gatehouse(
        stack, "import", "mx-merchant", "--merchant", "off", "--from", "2026-03-01", "--to", "2026-03-02"
    )
    assert "is switched off" in refused.stderr
    from_file = gatehouse(stack, "import", "payments", str(old), *options)
    assert from_file.returncode == 1
    assert "nothing is imported for it" in from_file.stderr
    assert rows(stack, "off") == []
    again = gatehouse(stack, "reconcile", "--gateway", "mx_merchant", "--account", "off", "--days", "1")
    assert again.returncode == 1
    assert "no account to compare" in again.stderr


@pytest.mark.req("M1", "M2", "M3", "M6", "M7", "G7")
def test_two_clinics_are_told_of_payments_while_the_api_stumbles_and_each_sees_its_own(
    clinics: RunningStack, api: GatewayApi
) -> None:
    stack = clinics
    api.fail_with(Fault("500", times=2))
    for clinic in ("north", "south"):
        tell(
            stack,
            clinic,
            7_000_000_000 + IDS[clinic],
            customer=f"Pat of {clinic}",
            customerNumber="SAME-CODE",
            customFields={"product": "Never Heard Of"},
        )

    def told(clinic: str) -> list[list[Any]]:
        return run_sql(
            stack.facts["database_url"],
            "select m.name, m.category, m.status, p.status, p.product_name, i.customer_name from memberships m"
            " join payments p on p.merchant = m.merchant and p.customer_ref = m.customer_ref"
            " join invoices i on i.merchant = p.merchant and i.gateway_id = p.invoice_ref"
            f" where m.merchant = '{clinic}' and m.customer_ref = 'SAME-CODE'",
        )

    for clinic in ("north", "south"):
        wait_until(partial(told, clinic), seconds=90)
        assert told(clinic) == [
            [f"Pat of {clinic}", "Uncategorized", "active", "completed", "Never Heard Of", f"Pat of {clinic}"]
        ]
    assert "Never Heard Of" in done(stack, "products", "review", "--merchant", "north")
    done(stack, "products", "set", "Never Heard Of", "Vitamins", "--merchant", "north")
    assert [row[1] for row in told("north")] == ["Vitamins"]
    category = "select product_category from payments where merchant = '{}' and product_name = 'Never Heard Of'"
    assert run_sql(stack.facts["database_url"], category.format("north")) == [["Vitamins"]], "past payments follow"
    assert run_sql(stack.facts["database_url"], category.format("south")) == [["Uncategorized"]]
    assert [row[1] for row in told("south")] == ["Uncategorized"], "it is another clinic's to say"
    key = done(stack, "keys", "create", "desk", "--merchant", "north").split()[-1]
    with httpx.Client(base_url=stack.facts["api_url"], timeout=30, trust_env=False) as client:
        client.headers["authorization"] = f"Bearer {key}"
        shown = client.get("/api/memberships", params={"text": "SAME-CODE"}).json()["items"]
    assert [(each["name"], each["category"]) for each in shown] == [("Pat of north", "Vitamins")]


# More than two jobs take in their own tries, so that one at least is postponed.
FAULTS = (
    Fault("429", times=8, retry_after_seconds=1),
    Fault("500", times=8),
    Fault("truncated", times=8),
    Fault("slow", times=1, seconds=ANSWER_SECONDS + 1),
)


class Hurry:
    """Lets what backed off come now, which takes minutes after some failures, and counts what did."""

    def __init__(self, stack: RunningStack) -> None:
        self.backed_off = 0
        self._stack = stack

    def __call__(self) -> bool:
        """Hurry once; say that it is not over yet."""
        database = self._stack.facts["database_url"]
        for wait in (
            "update gateway_troubles set asked_again_at = now() where asked_again_at > now() returning 1",
            "update jobs set due_at = now(), ring_after = now() where topic = 'refetch' and status = 'waiting'"
            " and due_at > now() and last_error is not null returning 1",
        ):
            self.backed_off += len(run_sql(database, wait))
        run_now(self._stack, "JobSweeperFunction")
        return False


@pytest.mark.req("M6", "M1", "G7", "G10")
def test_whatever_the_api_does_for_a_while_every_payment_has_its_invoice_in_the_end(
    clinics: RunningStack, api: GatewayApi
) -> None:
    stack, hurry = clinics, Hurry(clinics)
    numbers: list[int] = []
    for place, fault in enumerate(FAULTS):
        api.fail_with(replace(fault))
        for clinic in ("north", "south"):
            numbers.append(7_300_000_000 + IDS[clinic] * 10 + place)
            tell(stack, clinic, numbers[-1])
        wait_until(lambda: api.is_well or hurry(), seconds=120)  # the fault was met so often
    asked = ", ".join(f"'{number}'" for number in numbers)
    enriched = (
        "select o.object_id from payments p join payment_objects o on o.payment_id = p.id"
        " join invoices i on i.gateway = p.gateway and i.account = p.account and i.gateway_id = p.invoice_ref"
        f" where p.status = 'completed' and p.product_category is not null and o.object_id in ({asked}) order by 1"
    )
    database = stack.facts["database_url"]
    wait_until(lambda: len(run_sql(database, enriched)) == len(numbers) or hurry(), seconds=120)
    assert run_sql(database, "select * from gateway_troubles where kind = 'failing'") == []
    of_these = "from jobs where topic = 'refetch' and merchant in ('north', 'south')"
    assert run_sql(database, f"select count(*)::int {of_these} and status = 'dead'") == [[0]]
    assert hurry.backed_off > 0, "nothing backed off"


@pytest.mark.req("M6", "G7", "G10")
def test_a_clinic_whose_key_is_refused_waits_alone_until_the_list_has_a_new_one(
    clinics: RunningStack, tmp_path: Path
) -> None:
    stack, database = clinics, clinics.facts["database_url"]
    write(tmp_path / "west.csv", "west", refused=("west",))
    done(stack, "merchants", "import", str(tmp_path / "west.csv"))
    tell(stack, "west", 7_400_000_001)
    tell(stack, "north", 7_400_000_002)
    status = "select p.status from payments p join payment_objects o on o.payment_id = p.id where o.object_id = '{}'"
    wait_until(lambda: run_sql(database, status.format(7_400_000_002)) == [["completed"]], seconds=60)
    trouble = "select kind from gateway_troubles where account = 'west'"
    wait_until(lambda: run_sql(database, trouble) == [["refused"]])
    assert run_sql(database, status.format(7_400_000_001)) == [["processing"]]
    assert run_sql(database, "select status, attempts from jobs where topic = 'refetch' and merchant = 'west'") == [
        ["waiting", 0]
    ]
    assert any('"CredentialsRefused"' in line for line in stack.lines)
    write(tmp_path / "west.csv", "west")
    assert "1 changed" in done(stack, "merchants", "import", str(tmp_path / "west.csv"))
    wait_until(lambda: run_sql(database, status.format(7_400_000_001)) == [["completed"]], seconds=90)
    assert run_sql(database, trouble) == []
