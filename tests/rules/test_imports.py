"""Our modules keep the import rules, and each rule notices when it is broken."""

import pytest

from tests.rules import imports
from tests.rules.imports import IMPORT_RULES, ImportRule, Module, modules

BROKEN: list[tuple[ImportRule, str, str, str]] = [
    (imports.imports_point_down, "gatehouse.database.flush", "import gatehouse.models.events", "which stands above it"),
    (imports.imports_point_down, "gatehouse.errors", "from gatehouse.database import flush", "which stands above it"),
    (imports.imports_point_down, "gatehouse.jobs.claim", "from gatehouse.enrichment.fees import x", "stands above it"),
    (imports.lambda_code_knows_nothing_else, "gatehouse.settings", "from local import stack", "not in the bundle"),
    (imports.lambda_code_knows_nothing_else, "health.handler", "import tests.support", "not in the bundle"),
    (imports.verify_and_translate_are_pure, "gatehouse.gateways.stripe.verify", "import time", "may do I/O"),
    (
        imports.verify_and_translate_are_pure,
        "gatehouse.gateways.stripe.translate",
        "import urllib.request",
        "may do I/O",
    ),
    (
        imports.verify_and_translate_are_pure,
        "gatehouse.gateways.stripe.translate",
        "from gatehouse.settings import settings",
        "may do I/O",
    ),
    (imports.verify_and_translate_are_pure, "gatehouse.gateways.paystack.refunds", "import httpx", "may do I/O"),
    (imports.verify_and_translate_are_pure, "gatehouse.money", "from pathlib import Path", "may do I/O"),
    (imports.verify_and_translate_are_pure, "gatehouse.gateways.stripe.invoices", "import httpx", "may do I/O"),
    (imports.each_library_has_one_owner, "gatehouse.models.events", "import pg8000.native", "imports pg8000.native"),
    (imports.each_library_has_one_owner, "health.handler", "def f():\n    import boto3", "imports boto3"),
    (imports.only_the_bell_sends_to_sqs, "gatehouse.intake.receive", "sqs.call('SendMessage', {})", "sends to SQS"),
    (
        imports.only_settings_reads_the_environment,
        "gatehouse.aws",
        "import os; os.environ['X']",
        "reads the environment",
    ),
]


@pytest.mark.parametrize("rule", IMPORT_RULES, ids=lambda rule: rule.__name__)
def test_our_modules_keep_the_rule(rule: ImportRule) -> None:
    assert rule(modules()) == []


@pytest.mark.parametrize(
    ("rule", "name", "source", "complaint"), BROKEN, ids=lambda each: getattr(each, "__name__", "")
)
def test_the_rule_notices(rule: ImportRule, name: str, source: str, complaint: str) -> None:
    others = [module for module in modules() if module.name != name]
    found = rule([*others, Module(name, source)])
    assert any(complaint in each for each in found), found


def test_every_rule_is_broken_once() -> None:
    assert {rule for rule, *_ in BROKEN} == set(IMPORT_RULES)
