"""The console shares nothing with the way of a webhook: whatever people do in it, events are taken in."""

import ast
import subprocess
import sys

import pytest

from tests.template.expansion import PROJECT, Json, Template, our_source, our_template
from tests.template.rules import routes_of, webhook_routes_of

pytestmark = [pytest.mark.req("O4"), pytest.mark.req("G10")]

CONSOLE = "ConsoleFunction"


def webhooks() -> list[str]:
    """Return the functions that gateways call."""
    return [name for name in our_source()["Resources"] if name.endswith("WebhookFunction")]


def properties(template: Template, function: str) -> Json:
    """Return what CloudFormation is told of a function."""
    found: Json = template.expanded["Resources"][function]["Properties"]
    return found


def test_it_is_a_function_of_its_own_with_its_own_role_and_log() -> None:
    template, console = our_template(), properties(our_template(), CONSOLE)
    assert len(webhooks()) == 5
    for function in webhooks():
        other = properties(template, function)
        for name in ("Handler", "Role", "LoggingConfig", "FunctionName"):
            assert console[name] != other[name], (function, name)


def test_it_has_executions_of_its_own_and_they_end_at_a_number() -> None:
    source = our_source()
    resources = source["Resources"].items()
    reserved = {name: each.get("Properties", {}).get("ReservedConcurrentExecutions") for name, each in resources}
    ours = reserved.pop(CONSOLE)
    assert ours == {"Ref": "ConsoleConcurrency"}
    assert ours not in reserved.values()
    assert 1 <= source["Parameters"]["ConsoleConcurrency"]["Default"] < 10
    for function in webhooks():  # theirs are set aside too: the console cannot use them up
        assert source["Parameters"][reserved[function]["Ref"]]["Default"] >= 1, function


def test_it_logs_into_the_database_as_others_do_not_and_knows_no_secret_of_a_gateway() -> None:
    console = our_source()["Resources"][CONSOLE]["Properties"]
    variables = console["Environment"]["Variables"]
    held = {name: value for name, value in variables.items() if name.endswith("SECRET_ARN")}
    assert held == {
        "DATABASE_SECRET_ARN": {"Ref": "ApiDatabaseSecretArn"},
        "OPS_DATABASE_SECRET_ARN": {"Ref": "OpsDatabaseSecretArn"},
        "BACKUP_DATABASE_SECRET_ARN": {"Ref": "BackupReaderDatabaseSecretArn"},
        "DATA_KEYS_SECRET_ARN": {"Ref": "DataKeysSecretArn"},  # seals sessions; what it seals is told apart by name
    }
    for function in webhooks():
        theirs = our_source()["Resources"][function]["Properties"]["Environment"]["Variables"]
        assert theirs["DATABASE_SECRET_ARN"] == {"Ref": "IntakeDatabaseSecretArn"}, function
        others = {name: value for name, value in theirs.items() if name.endswith("SECRET_ARN")}
        shared = [name for name, value in others.items() if value in held.values() and name != "DATA_KEYS_SECRET_ARN"]
        assert shared == [], function


def test_no_route_of_a_webhook_leads_to_it() -> None:
    events = our_source()["Resources"][CONSOLE]["Properties"]["Events"].values()
    pages = {f"{each['Properties']['Method']} {each['Properties']['Path']}" for each in events}
    assert pages == {"GET /console", "ANY /console/{proxy+}", "GET /dashboard/subscriptions"}
    assert pages <= {f"{method} {path}" for method, path in routes_of(our_template())}
    assert pages & set(webhook_routes_of(our_template())) == set()


def test_it_imports_no_webhook_and_no_webhook_imports_it() -> None:
    for file in sorted((PROJECT / "functions").glob("*/**/*.py")):
        function = file.relative_to(PROJECT / "functions").parts[0]
        if function != "console" and not function.endswith("_webhook"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            told = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            told += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            for name in told:
                first = name.partition(".")[0]
                assert not first.endswith("_webhook") or first == function, (file, name)
                assert first != "console" or function == "console", (file, name)


def test_what_a_webhook_loads_has_nothing_of_the_console() -> None:
    told = (
        "import sys\nfrom importlib import import_module\n"
        "import_module('stripe_webhook.handler')\n"
        "print(*sorted(name for name in sys.modules if name.partition('.')[0] in"
        " ('console', 'jinja2', 'fastapi', 'mangum')))"
    )
    paths = [str(PROJECT / "functions"), str(PROJECT / "layers" / "gatehouse")]
    done = subprocess.run(
        [sys.executable, "-c", told],
        env={"PYTHONPATH": ":".join(paths), "STAGE": "local"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
