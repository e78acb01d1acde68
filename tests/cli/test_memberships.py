"""`gatehouse products` and `gatehouse memberships`, run as ops run them."""

import json
from pathlib import Path

import pytest

from gatehouse.database.connection import Database
from gatehouse.sealing import Keyring
from tests.cli.conftest import Command
from tests.membership.clinic import invoiced, paid, person, tell
from tests.support.gatehouse_database import GatehouseDatabase


@pytest.fixture
def _clinic(intake: Database, keyring: Keyring) -> None:
    """Two patients, whose products nobody has looked at."""
    tell(
        intake,
        keyring,
        invoiced("i", "Testosterone"),
        invoiced("j", "Gift card"),
        person("C1", "Ada Byron"),
        *(paid(f"p{n}", "C1", n * 30, invoice_ref="i") for n in range(3)),
        paid("q", "C2", 0, invoice_ref="j"),
    )


@pytest.mark.req("M2", "M3", "O5")
@pytest.mark.usefixtures("_clinic")
def test_products_are_reviewed_and_memberships_follow(
    gatehouse: Command, gatehouse_database: GatehouseDatabase, tmp_path: Path
) -> None:
    review = gatehouse("products", "review")
    assert (review.returncode, "TRT" in review.stdout, "Gift card" in review.stdout) == (0, True, True), review.stderr
    done = gatehouse("products", "set", "TESTO sterone")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Testosterone: TRT",
        "3 payments changed their category, and the memberships of 1 patients",
    ]
    nothing = gatehouse("products", "set", "gift card")
    assert (nothing.returncode, nothing.stderr) == (
        1,
        "error: nothing is suggested for this product: say its category\n",
    )
    unknown = gatehouse("products", "set", "nobody sells this", "TRT")
    assert (unknown.returncode, unknown.stderr) == (1, "error: no product of the merchant has this name\n")
    file = tmp_path / "products.csv"
    filled = gatehouse("products", "export").stdout.replace("Gift card,Uncategorized", "Gift card,Gifts")
    file.write_text(filled, encoding="utf-8")
    came = gatehouse("products", "import", str(file))
    assert came.returncode == 0, came.stderr
    assert came.stdout.splitlines()[:4] == ["0 added", "1 changed", "0 reviewed", "1 same"]
    missing = gatehouse("products", "import", f"{file}x")
    assert (missing.returncode, "No such file" in missing.stderr) == (1, True)
    listed = gatehouse("products", "list", "--category", "Gifts", "--json")
    assert json.loads(listed.stdout)["product_name"] == "Gift card"

    tabs = gatehouse("memberships", "tabs").stdout
    assert [line.split()[:2] for line in tabs.splitlines()[1:]] == [
        ["All", "2"],
        ["Gifts", "1"],
        ["TRT", "1"],
        ["Cancellations", "0"],
    ]
    (ada,) = [json.loads(line) for line in gatehouse("memberships", "list", "ada", "--json").stdout.splitlines()]
    number = str(ada["id"])
    assert (ada["category"], ada["status"]) == ("TRT", "active")
    refused = gatehouse("memberships", "set", number, "--status", "paused")
    assert (refused.returncode, refused.stderr) == (
        1,
        "error: reason: is needed with a status, for those who look later\n",
    )
    held = gatehouse("memberships", "set", number, "--status", "paused", "--because", "travels", "--google-review")
    assert held.stdout == f"{number} is set: paused by hand\n", held.stderr
    assert gatehouse("memberships", "release", number).stdout == f"{number} is active, as its payments say\n"
    shown = gatehouse("memberships", "show", number).stdout
    assert (shown.count("205.96 USD"), "Ada Byron" in shown) == (3, True)
    first = gatehouse("memberships", "list", "--limit", "1", "--sort", "started").stdout
    after = first.splitlines()[-1].removeprefix("more: --after ")
    assert "C2" in gatehouse("memberships", "list", "--sort", "started", "--after", after).stdout + first
    wrong = gatehouse("memberships", "list", "--sort", "colour")
    assert (wrong.returncode, "--sort: must be one of name" in wrong.stderr) == (1, True)

    gatehouse_database.sql(
        "set session_replication_role = replica; delete from memberships; delete from membership_counts"
    )
    again = gatehouse("memberships", "recompute", "--all")
    assert "default: 0 of 4 payments and 2 memberships changed" in again.stdout, again.stderr
    reads = gatehouse("memberships", "reads").stdout
    assert ("gatehouse command" in reads, "patient" in reads, "products" in reads) == (True, True, True)
