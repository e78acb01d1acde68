"""The SQL of docs/deploy.md, carried out as it stands by an administrator who is no superuser."""

import re
from pathlib import Path

import pytest

from gatehouse.migrations.engine import Engine
from gatehouse.migrations.sessions import Target
from gatehouse.settings import load
from local.local_database import STATEMENT_SECONDS
from tests.support.postgres import run_sql, running_server

PROJECT = Path(__file__).parents[2]
PASSWORD = "from_a_secret"
GUIDE = (PROJECT / "docs" / "deploy.md").read_text()


def statements_of_the_guide() -> list[list[str]]:
    """Return the statements of each block of SQL, with a password in the place of the dots."""
    blocks = re.findall(r"^```sql\n(.+?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    return [
        [line.split(" -- ")[0].replace("…", PASSWORD) for line in block.splitlines() if line.strip()]
        for block in blocks
    ]


@pytest.mark.req("O3", "P11", "P13")
def test_the_database_is_made_as_the_guide_says() -> None:
    making, letting_in = statements_of_the_guide()
    with running_server() as server:
        run_sql(server.url(), f"create role administrator login createrole createdb password '{PASSWORD}'")
        administrator = server.url("postgres", "administrator", PASSWORD)
        for statement in making:
            run_sql(administrator, statement)
        owner = server.url("gatehouse", "gatehouse_owner", PASSWORD)
        Engine(Target("primary", owner, tls="off"), PROJECT / "migrations" / "primary").up()
        for statement in letting_in:
            run_sql(owner, statement)

        for role in ("gatehouse_intake", "gatehouse_worker"):
            answered = run_sql(server.url("gatehouse", role, PASSWORD), "show statement_timeout")
            assert answered == [[f"{STATEMENT_SECONDS}s"]], role
        assert run_sql(server.url("gatehouse", "gatehouse_ops", PASSWORD), "select count(*) from webhook_events") == [
            [0]
        ]


@pytest.mark.req("O3")
def test_what_the_guide_lets_run_is_what_the_functions_wait_for() -> None:
    assert load({}).database_statement_milliseconds == STATEMENT_SECONDS * 1000
