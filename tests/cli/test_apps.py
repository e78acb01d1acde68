"""`gatehouse apps`: an app is added, and what is there already finds it."""

from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.facts import CustomerFact, Fact, ObjectName, PaymentFact, SubscriptionFact, SubscriptionStatus
from gatehouse.sealing import Keyring
from tests.cli.conftest import Command
from tests.cli.test_explain import tell
from tests.intake.linked_stories import PAID
from tests.support.gatehouse_database import GatehouseDatabase

PLAN = "PLN_x"


def paid(name: str, **words: Any) -> PaymentFact:
    """Return what is said of a paid charge."""
    return PAID._replace(objects=(ObjectName("charge", name),))._replace(**words)


def subscribed(name: str, **words: Any) -> SubscriptionFact:
    """Return what is said of an active subscription."""
    return SubscriptionFact(
        objects=(ObjectName("subscription", name),),
        status=SubscriptionStatus.ACTIVE,
        amount_minor=900,
        currency="EUR",
        **words,
    )


@pytest.fixture
def told(intake: Database, keyring: Keyring) -> None:
    """Payments and subscriptions that know their app in every way."""
    facts: tuple[Fact, ...] = (
        paid("by_plan", plan=PLAN),
        paid("by_default"),
        paid("by_event", app="elevenone", plan=PLAN),
        paid("by_subscription", subscription_ref="sub_1"),
        subscribed("sub_1", plan=PLAN, user_id="u1"),
        subscribed("sub_2", user_id="u2", app="elevenone"),
        CustomerFact(objects=(ObjectName("customer", "cus_1"),), app="elevenone"),
        paid("by_customer", customer_ref="cus_1"),
        paid("by_plan_of_customer", customer_ref="cus_1", plan=PLAN),
        paid("stranger", app="unheard-of"),
    )
    for second, fact in enumerate(facts):
        tell(intake, keyring, f"evt_{second}", second, fact)


def apps_of(database: GatehouseDatabase) -> dict[str, str]:
    """Return app and how it is known of each row, and of each note of an event."""
    rows = database.sql(
        "select o.object_id, p.app || ' ' || p.app_from from payment_objects o join payments p on p.id = o.payment_id"
        " union all select gateway_id, app || ' ' || app_from from subscriptions"
    )
    return {name: app for name, app in rows}  # noqa: C416 - rows are lists


@pytest.mark.req("R1", "R7")
@pytest.mark.usefixtures("told")
def test_a_new_app_with_a_plan_takes_what_belongs_to_it(
    gatehouse: Command, gatehouse_database: GatehouseDatabase
) -> None:
    before = apps_of(gatehouse_database)
    added = gatehouse("apps", "add", "twelve", "--plan", PLAN)
    assert added.returncode == 0, added.stderr
    assert added.stdout.splitlines()[0] == f"twelve of default, plans {PLAN}; view twelve_subscriptions"
    after = before | {
        "by_plan": "twelve plan",
        "sub_1": "twelve plan",
        "by_subscription": "twelve subscription",
        "by_plan_of_customer": "twelve plan",
    }
    assert apps_of(gatehouse_database) == after
    assert "4 of " in added.stdout
    noted = gatehouse_database.sql("select count(*)::int, count(distinct payment_id)::int from twelve_subscriptions")
    assert noted == [[4, 3]]
    again = gatehouse("apps", "add", "twelve", "--plan", PLAN)
    assert again.returncode == 0
    assert "0 of " in again.stdout
    assert apps_of(gatehouse_database) == after


@pytest.mark.req("R1")
@pytest.mark.usefixtures("told")
def test_another_default_takes_what_nothing_else_claims(
    gatehouse: Command, gatehouse_database: GatehouseDatabase
) -> None:
    before = apps_of(gatehouse_database)
    refused = gatehouse("apps", "add", "elevenone", "--default")
    assert refused.returncode == 1
    assert refused.stderr == "error: nexai is the default of default already; say --instead-of nexai\n"
    assert apps_of(gatehouse_database) == before
    assert gatehouse("apps", "add", "elevenone", "--default", "--instead-of", "nexai").returncode == 0
    assert apps_of(gatehouse_database) == {
        name: app.replace("nexai default", "elevenone default") for name, app in before.items()
    }
    assert gatehouse_database.sql("select count(*)::int from nexai_subscriptions") == [[0]]


@pytest.mark.req("R1")
@pytest.mark.usefixtures("told")
def test_what_an_interrupted_change_left_is_done_by_the_same_command(
    gatehouse: Command, gatehouse_database: GatehouseDatabase
) -> None:
    """The app is written first; here everything after that is missing, as when the process ended there."""
    gatehouse_database.sql(f"insert into apps (merchant, name, plans) values ('default', 'twelve', '{{{PLAN}}}')")
    assert gatehouse("apps", "add", "twelve", "--plan", PLAN).returncode == 0
    assert apps_of(gatehouse_database)["by_plan"] == "twelve plan"
    assert gatehouse_database.sql("select count(*)::int from twelve_subscriptions") == [[4]]


@pytest.mark.req("R7", "O5")
@pytest.mark.usefixtures("told")
def test_apps_and_their_users_are_listed(gatehouse: Command, gatehouse_database: GatehouseDatabase) -> None:
    gatehouse_database.sql("update app_transactions set created_at = now()")
    gatehouse("apps", "add", "twelve", "--plan", PLAN)
    lines = {line.split()[1]: line.split() for line in gatehouse("apps", "list").stdout.splitlines()[1:]}
    assert lines["nexai"] == ["default", "nexai", "yes", "0", "1"]
    assert lines["elevenone"] == ["default", "elevenone", "1", "3"]
    assert lines["twelve"] == ["default", "twelve", PLAN, "1", "4"]
    assert lines["unheard-of"] == [
        "default",
        "unheard-of",
        *["not", "added:", "only", "events", "name", "it"],
        "0",
        "1",
    ]

    shown = gatehouse("apps", "show", "twelve").stdout.splitlines()
    assert shown[1].split()[:5] == ["u1", PLAN, "active", "9.00", "EUR"] or "(test)" in shown[1]
    assert "subscription sub_1 of stripe/default" in shown[1]
    assert gatehouse("apps", "show", "elevenone", "--limit", "1").stdout.splitlines()[-1] == "more: --after u2"
    assert gatehouse("apps", "show", "elevenone", "--after", "u2").stdout == "no more users\n"
    assert gatehouse("apps", "show", "nexai").stdout == "no user yet\n"
    nobody = gatehouse("apps", "show", "nobody")
    assert (nobody.returncode, nobody.stderr) == (1, "error: default has no app nobody\n")


@pytest.mark.req("R1", "O5")
@pytest.mark.parametrize(
    ("arguments", "exit_code", "word"),
    [
        (("NexAI",), 2, "lower-case letters"),
        (("-x",), 2, ""),
        (("_x",), 2, "the first one a letter or digit"),
        (("x" * 41,), 2, "1 to 40"),
        (('x"; drop table apps',), 2, "lower-case letters"),
        (("fine", "--merchant", "nobody"), 1, "there is no merchant nobody"),
        (("fine", "--instead-of", "nexai"), 2, "goes with --default"),
        (("fine", "--default", "--instead-of", "elevenone"), 1, "nexai is the default of default already"),
        (("fine", "--plan", "taken"), 1, "elevenone has taken already; a plan belongs to one app"),
        (("el-even",), 1, "el_even_subscriptions"),
    ],
)
def test_what_cannot_be_added_is_told(
    arguments: tuple[str, ...], exit_code: int, word: str, gatehouse: Command, gatehouse_database: GatehouseDatabase
) -> None:
    gatehouse_database.sql(
        "update apps set plans = '{taken}' where name = 'elevenone';"
        "create view el_even_subscriptions as select id from merchants"
    )
    before = gatehouse_database.sql("select apps::text from apps order by name")
    told = gatehouse("apps", "add", *arguments)
    assert told.returncode == exit_code, told.stderr
    assert word in " ".join(told.stderr.replace("│", " ").split())
    assert "Traceback" not in told.stderr
    assert gatehouse_database.sql("select apps::text from apps order by name") == before


@pytest.mark.req("P13", "R1")
def test_verify_knows_the_view_of_an_added_app_and_still_sees_a_strangers(
    gatehouse: Command, gatehouse_database: GatehouseDatabase
) -> None:
    assert gatehouse("apps", "add", "twel-ve").returncode == 0
    owner = {"POSTGRES_URL_NON_POOLING": gatehouse_database.url("owner")}
    found = gatehouse("migrate", "verify", **owner)
    assert found.returncode == 0, found.stdout + found.stderr
    for stranger in (
        "create view other_subscriptions as select app from app_transactions",
        "comment on view other_subscriptions is 'made by make_app_view'",
        "drop view other_subscriptions; create view other_subscriptions with (security_invoker = true)"
        " as select t.app from app_transactions t, merchants; comment on view other_subscriptions is"
        " 'made by make_app_view'",
        "drop view other_subscriptions; create view other with (security_invoker = true) as select app from"
        " app_transactions; comment on view other is 'made by make_app_view'",
    ):
        gatehouse_database.sql(stranger)
        found = gatehouse("migrate", "verify", **owner)
        assert found.returncode == 1, stranger
        assert "VIEW other" in found.stdout + found.stderr
