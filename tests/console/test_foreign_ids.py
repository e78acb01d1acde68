"""A merchant's user tries whatever names something of another merchant, within his own pages, and gets nothing.

Routes, the names in their paths, queries and forms are read from the console itself: a new one that nobody has put a
value of the other merchant to fails here.
"""

import inspect
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import pytest
from pydantic import BaseModel

from console.app import PAGES, Page
from console.views import FLASH_COOKIE
from gatehouse.database.connection import Database
from gatehouse.models.refunds import request_refund
from gatehouse.tenants.records import NewTenant, Who, create
from tests.console.console_client import Browser, Console, Shown
from tests.console.scenery import paint
from tests.http_api.api_client import made_key
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = pytest.mark.req("O4", "M7")

OTHER = "default"  # whose things they are
OWN = "/console/m/acme"  # where they are asked for
NOWHERE = {"refund_request": "00000000-0000-0000-0000-000000000001", "tenant_id": "t_00000000000000"}
NO_ID = "987654321"
# What is put to each field of a form; what is not here is a field that nobody has thought of.
FIELDS = dict(
    parse_qsl(
        "amount=1.00&reason=mine&key=a+key&version=1&status=cancelled&back=edit%3D1&email=ada%40example.com"
        "&first_name=Eve&last_name=Stranger&phone=1&category=TRT&google_review_submitted=true&referral_source=x"
        "&fulfillment_type=x&product=1&app=shop&error=HTTP_500&gateway=stripe&since=2020-01-01&until=&limit=5"
        "&replay=false&name=The+laboratory&plan=free&engine=plain&region=&role=owner&organization=x"
        "&billing_email=eve%40example.com&subject=user%3Aeve&query=select+1",
        keep_blank_values=True,
    )
)
# What is put to each name of a query; all of it names something of the other merchant, where that can be.
QUERIES = parse_qsl(
    "customer_id=1&order_id=1&edit=1&before=9&after=1&text=order-1&text=ada%40example.com&text=payments_1&text=Ada"
    "&text=C0&name=evt_1&name=1&reference=order-1&app=shop&status=completed&status=active&status=applied"
    "&gateway=stripe&gateway=mx_merchant&type=charge.succeeded&state=waiting&state=unknown&plan=gold&tab=TRT"
    "&tab=Cancellations&category=TRT&begins=Sema&show=all&error=HTTP_500&event_id=fest&ok=false"
    "&item_type=full_festival&payment_state=paid&sort=last_payment&limit=1&since=2020-01-01&paid_since=2020-01-01"
    "&until=2030-01-01&paid_until=2030-01-01&live=1&format=csv&going=yes&livemode=true&replay=true&replay=false"
    "&google_review_submitted=false&referral_source=x&fulfillment_type=x&renewal_missed=false&amount=1.00"
    "&reason=mine&cursor=none+of+ours"
)
MARKS = (
    *("ada@example.com", "Lovelace", "Byron", "Bob Stone", "Cleo", "patient0@example.com", "Testosterone"),
    *("order-1", "evt_1", "card_declined", "Semaglutide", "Consultation", "hooks.example.com"),
    *("user-1", "The festival", "The laboratory of another", "answered 500", "subscriptions_1", "a reason of another"),
)


class Route(NamedTuple):
    """One way into the pages of a merchant."""

    page: Page
    method: str
    path: str

    @property
    def names(self) -> list[str]:
        """Return what stands for an object in the path."""
        return [name for name in re.findall(r"\{(\w+)\}", self.path) if name != "merchant"]

    def filled(self, ids: dict[str, str]) -> str:
        """Return the path under the own merchant, with these ids."""
        return re.sub(r"\{(\w+)\}", lambda name: "acme" if name[1] == "merchant" else ids[name[1]], self.path)

    def asks(self) -> set[str]:
        """Return the names that its module reads from queries and forms, by models and by hand."""
        source = inspect.getsource(self.page)  # type: ignore[arg-type]  # pages are modules
        models = [each for each in vars(self.page).values() if inspect.isclass(each) and issubclass(each, BaseModel)]
        by_hand = re.findall(r'(?:form\.\w+|query_params\.get)\("(\w+)"|"(\w+)" in request\.query_params', source)
        besides = re.findall(r'"(\w+)"', " ".join(re.findall(r"besides=\(([^)]*)\)", source)))
        fields = [name for model in models for name in model.model_fields]
        return {*fields, *besides, *(one or two for one, two in by_hand)}


def routes(method: str) -> list[Route]:
    """Return the routes under a merchant's path."""
    found = [
        Route(page, method, route.path)  # type: ignore[attr-defined]  # a route with methods has a path
        for page in PAGES
        for route in page.router.routes
        if method in getattr(route, "methods", ())
    ]
    return [route for route in found if "{merchant}" in route.path]


@pytest.fixture
def theirs(gatehouse_database: GatehouseDatabase, api_database: Database) -> dict[str, str]:
    """Return the ids of things of the other merchant, by the name that they have in paths."""
    order = paint(gatehouse_database)
    with api_database.transaction(merchant=OTHER, event="a test") as transaction:
        asked = request_refund(
            transaction, OTHER, 1, amount_minor=100, reason="a reason of another", actor="somebody else"
        )
    gatehouse_database.sql("update refund_requests set state = 'unknown'")
    tenant, _ = create(
        api_database, Who(OTHER, "user:somebody"), NewTenant("The laboratory of another", "free", "plain")
    )
    ones = (
        "payment_id",
        "event_id",
        "customer_id",
        "membership_id",
        "invoice_id",
        "product_id",
        "forward_id",
        "number",
    )
    return {
        **dict.fromkeys((*ones, "number"), "1"),
        "order_id": str(order.id),
        "tenant_id": str(tenant["id"]),
        "refund_request": str(asked.id),
    }


@pytest.fixture
def intruders(console: Console, ops: Database) -> list[Browser]:
    """An admin of the own merchant, and an operator, who sees both: each in its own place."""
    keys = [
        made_key(ops, "acme", "admin", rate_per_minute=10_000, may_read_health_data=True),
        made_key(ops, None, "ops", rate_per_minute=10_000, may_read_health_data=True),
    ]
    return [console.sign_in(key) for key in keys]


def leaks(shown: Shown, *said: str) -> list[str]:
    """Return what of the other merchant an answer shows, besides what was said by the asker himself."""
    whole = f"{shown.text} {shown.location}"
    return [mark for mark in MARKS if mark in whole and not any(mark in each for each in said)]


def without_ids(shown: Shown) -> str:
    """Return the words of a refusal without the id that it repeats."""
    return re.sub(r"\b(\d+|t_\w+|[0-9a-f-]{36})\b", "…", shown.words)


def kept(database: GatehouseDatabase) -> dict[str, Any]:
    """Return a digest of every row of the other merchant, by table."""
    tables = [
        name
        for (name,) in database.sql(
            "select table_name::text from information_schema.columns natural join information_schema.tables"
            " where column_name = 'merchant' and table_schema = 'public' and table_type = 'BASE TABLE'"
        )
    ]
    each = " union all ".join(
        f"select '{name}', count(*), md5(string_agg(t::text, '|' order by t::text)) from {name} t"
        f" where merchant = '{OTHER}'"
        for name in tables
    )
    return {name: (many, digest) for name, many, digest in database.sql(each)}


def addresses(route: Route) -> Iterator[tuple[str, str]]:
    """Yield each name of a query with each value that is put to it."""
    known = {name for name, _ in QUERIES}
    asks = route.asks()
    forgotten = asks - known - FIELDS.keys()
    assert not forgotten, f"{route.path}: put something of another merchant to {forgotten}"
    yield from ((name, value) for name, value in QUERIES if name in asks)


def test_the_marks_are_of_the_other_merchant(theirs: dict[str, str], intruders: list[Browser]) -> None:
    _, operator = intruders
    shown = " ".join(
        operator.get(route.filled(theirs).replace(OWN, f"/console/m/{OTHER}", 1)).text for route in routes("GET")
    )
    shown += operator.get(f"/console/m/{OTHER}/payments", format="csv").text
    assert [mark for mark in MARKS if mark not in shown] == []


def test_no_id_of_another_merchant_opens_anything(
    theirs: dict[str, str], intruders: list[Browser], gatehouse_database: GatehouseDatabase
) -> None:
    nowhere = {name: NOWHERE.get(name, NO_ID) for name in theirs}
    before = kept(gatehouse_database)
    assert before["payments"][0] == 2
    for route in [*routes("GET"), *routes("POST")]:
        assert set(route.names) <= set(theirs), f"{route.path}: give the test an id of another merchant for it"
        for browser in intruders:
            for more in ("", "?live=1&going=yes"):
                browser.cookies.pop(FLASH_COOKIE, None)  # words about what was done to the own merchant
                if route.method == "POST":
                    fields = FIELDS | ({"status": "paused"} if "membership_id" in route.names else {})
                    answers = [browser.post(route.filled(ids), fields) for ids in (theirs, nowhere)]
                else:
                    answers = [browser.get(f"{route.filled(ids)}{more}") for ids in (theirs, nowhere)]
                seen, none = answers
                assert leaks(seen, *(FIELDS.values() if route.method == "POST" else ())) == [], (route, seen.words)
                if route.names:
                    assert seen.status == 404, (route, seen.status, seen.words)
                    assert without_ids(seen) == without_ids(none), f"{route.path}: as if it were not there"
                if route.method == "POST":
                    break
    assert kept(gatehouse_database) == before, "nothing was changed, and no read was noted"


def test_no_query_finds_anything_of_another_merchant(theirs: dict[str, str], intruders: list[Browser]) -> None:
    tried = 0
    for route in routes("GET"):
        if route.names:
            continue  # the test above
        for name, value in [*addresses(route), ("text", theirs["order_id"])]:
            for browser in intruders:
                shown = browser.get(route.filled({}), **{name: value})
                assert shown.status in (200, 303, 404, 422), (route.path, name, value, shown.status)
                assert leaks(shown, value) == [], (route.path, name, value)
                tried += 1
    assert tried > 200


def test_no_cursor_of_another_merchant_leads_on_to_his_rows(
    theirs: dict[str, str], intruders: list[Browser], gatehouse_database: GatehouseDatabase
) -> None:
    del theirs
    gatehouse_database.sql(
        "insert into webhook_events (id, gateway, account, event_id, merchant, type, livemode, received_at, status)"
        " overriding system value values (2, 'stripe', 'default', 'evt_1b', 'default', 'charge.failed', true,"
        " '2026-11-20T10:02:00Z', 'applied')"
    )
    stranger, operator = intruders
    led_on: set[str] = set()
    for route in routes("GET"):
        if route.names:
            continue
        path = route.filled({})
        for link in operator.get(path.replace(OWN, f"/console/m/{OTHER}", 1), limit="1").links():
            if re.search(r"[?&](cursor|before|after)=", link):
                assert leaks(operator.get(link)), f"{link} is the second page of somebody's rows"
                led_on.add(path.removeprefix(OWN))
                for browser in (stranger, operator):
                    assert leaks(browser.get(link.replace(f"/console/m/{OTHER}", OWN, 1))) == [], link
    assert {"/payments", "/events", "/memberships", "/products"} <= led_on
