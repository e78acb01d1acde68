"""A sixth gateway costs what docs/adding_a_gateway.md says: an invented one is added to a copy, and works."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from gatehouse.aws import AwsClient
from gatehouse.database.connection import Database
from local.moto_server import MotoServer
from tests.intake.conftest import KEYS
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.gateway_samples import PROJECT
from tests.support.kiosk import ADDED, CHANGED, FACTS, PAID, SECRET, add_kiosk, webhook_request
from tests.support.queues import CREDENTIALS, Queues

GUIDE = "docs/adding_a_gateway.md"
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", ".local", ".aws-sam", "dist", "__pycache__", "*_cache", ".hypothesis"
)
SKIPPED = "not (paystack or sayswitch or mx_merchant) or whole"  # the old gateways' hostile payloads take long
TELL_WHAT_IS_MISSING = (
    "tests/gateways/kiosk",
    "tests/gateways/test_every_gateway_is_whole.py",
    "tests/gateways/test_hostile_payloads.py",
    "tests/template/test_project.py",
    "tests/template/test_rules.py::test_our_template_keeps_the_rule",
    "tests/rules/test_imports.py::test_our_modules_keep_the_rule",
    "tests/cli/test_credentials.py::test_one_credential_of_each_gateway_signs",
)

# The handler of the copy, in a process of its own: one request a line in, one answer a line out, among the log's lines.
HANDLE_ALL = """
import json, sys
import gatehouse.gateways.kiosk
from kiosk_webhook.handler import handler

print(json.dumps({"file": gatehouse.gateways.kiosk.__file__}))
for line in sys.stdin:
    print(json.dumps(handler(json.loads(line), None)))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project to which the gateway was added."""
    copy = tmp_path_factory.mktemp("copy") / "project"
    shutil.copytree(PROJECT, copy, ignore=NOT_COPIED)
    before = digests(copy)
    add_kiosk(copy)
    after = digests(copy)
    assert {place for place in before if before[place] != after.get(place)} == set(CHANGED)
    assert after.keys() - before.keys() == set(ADDED)
    return copy


@pytest.fixture
def ops(gatehouse_database: GatehouseDatabase) -> Iterator[Database]:
    """The database as ops see it."""
    database = gatehouse_database.connect("ops")
    yield database
    database.close()


def digests(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): sha256(file.read_bytes()).hexdigest() for file in files}


def places_named_in(guide: str) -> set[str]:
    """Return the files and folders that the guide names, with this gateway's name put in."""
    named = re.findall(r"`([\w<>./]+)`|\]\(([\w./]+)\)", guide.replace("<gateway>", "kiosk"))
    return {place or f"docs/{link}" for place, link in named}


def environment(project: Path, **more: str) -> dict[str, str]:
    """Return the environment of a process that works in the copy and knows nothing of where it was copied from."""
    paths = [project / "layers" / "gatehouse", project / "functions", project]
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR")}
    return {**kept, "PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONDONTWRITEBYTECODE": "1", **more}


def of_the_functions(database: GatehouseDatabase, queues: Queues, moto: MotoServer) -> dict[str, str]:
    """Return what the template gives to a webhook function, on this machine."""
    client = AwsClient(
        "secretsmanager", region="us-east-1", endpoint_url=moto.endpoint, credentials=lambda: CREDENTIALS
    )

    def put(name: str, content: dict[str, Any]) -> str:
        request = {"Name": f"{queues.urls['inbox'].rpartition('/')[2]}/{name}", "SecretString": json.dumps(content)}
        return str(client.call("CreateSecret", request, timeout_seconds=10)["ARN"])

    try:
        return {
            "STAGE": "local",
            "POSTGRES_URL": database.url("intake"),
            "DATABASE_TLS": "off",
            "GATEWAY_SECRET_ARN": put("kiosk", {"signing_secrets": [SECRET], "mode": "both"}),
            "DATA_KEYS_SECRET_ARN": put("data-keys", KEYS),
            "ENRICHMENT_QUEUE_URL": queues.urls["enrichment"],
            "INBOX_QUEUE_URL": queues.urls["inbox"],
            "INBOX_DLQ_URL": queues.urls["inbox-dlq"],
            "AWS_ENDPOINT_URL": moto.endpoint,
            "AWS_ACCESS_KEY_ID": CREDENTIALS.access_key_id,
            "AWS_SECRET_ACCESS_KEY": CREDENTIALS.secret_access_key,
        }
    finally:
        client.close()


def answers(project: Path, variables: dict[str, str], *requests: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """Hand requests to the handler of the copy; return status and words of each answer."""
    done = subprocess.run(
        [sys.executable, "-c", HANDLE_ALL],
        cwd=project,
        env=environment(project, **variables),
        input="\n".join(json.dumps(request) for request in requests),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    (file,) = [line["file"] for line in lines if "file" in line]
    assert Path(file).is_relative_to(project)
    return [(line["statusCode"], json.loads(line["body"])) for line in lines if "statusCode" in line]


@pytest.mark.req("D3", "G1", "G8", "G12")
def test_its_signed_event_is_received_and_recorded_once(
    project: Path, gatehouse_database: GatehouseDatabase, ops: Database, queues: Queues, moto: MotoServer
) -> None:
    variables = of_the_functions(gatehouse_database, queues, moto)
    forged = webhook_request(secret="a guess")
    unknown = webhook_request(PAID.replace("ev_1", "ev_3").replace("payment.paid", "kiosk.opened"))
    taken = answers(project, variables, webhook_request(), webhook_request(), forged, unknown)
    assert [(status, words.get("status")) for status, words in taken] == [
        (200, "applied"),
        (200, "duplicate"),
        (400, None),
        (200, "ignored"),
    ]
    events = ops.query("select gateway, event_id, type, status from webhook_events order by event_id")
    assert [tuple(row.values()) for row in events] == [
        ("kiosk", "ev_1", "payment.paid", "applied"),
        ("kiosk", "ev_3", "kiosk.opened", "ignored"),
    ]
    for table, columns in FACTS:
        row = ops.query_one(f"select * from {table} where gateway = 'kiosk'")
        assert {name: row[name] for name in columns} == columns


def test_the_guide_names_every_place_that_was_touched(project: Path) -> None:
    named = places_named_in((project / GUIDE).read_text())
    touched = [*ADDED, *CHANGED]
    unnamed = [
        place
        for place in touched
        if place not in named and not any(folder.endswith("/") and place.startswith(folder) for folder in named)
    ]
    assert unnamed == []


def test_of_the_code_only_the_list_of_names_was_touched() -> None:
    """What runs in Lambda, the commands and the database are as they were, but for a folder and a name in a list."""
    code = ("layers/", "functions/", "cli/", "migrations/")
    assert [place for place in CHANGED if place.startswith(code)] == ["layers/gatehouse/gatehouse/gateways/__init__.py"]
    own = ("layers/gatehouse/gatehouse/gateways/kiosk/", "functions/kiosk_webhook/")
    assert [place for place in ADDED if place.startswith(code) and not place.startswith(own)] == []


def test_nothing_is_missing(project: Path) -> None:
    """The tests that tell what a gateway lacks find nothing in the copy."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *TELL_WHAT_IS_MISSING, "-p", "no:cacheprovider", "-k", SKIPPED],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
