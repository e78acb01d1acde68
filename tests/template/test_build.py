"""`sam build` makes functions and a layer that run by themselves, with nothing of this checkout on their path."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import distribution
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from local.postgres import PostgresServer
from tests.conftest import DatabaseFactory
from tests.support.gatehouse_database import OWNER, ROLE_PASSWORD, make_roles
from tests.support.tiny_runtime_api import TinyRuntimeApi
from tests.template.expansion import PROJECT, our_template
from tests.template.test_project import API_FUNCTIONS, REQUESTS, functions

LAYERS = ("GatehouseLayer", "ApiLayer")
MOST_LAYER_BYTES = 60 * 1024 * 1024

# What Lambda's Python image brings. Ours must not lean on more, and `-I -S` keeps .venv and the environment out.
RUNTIME_PACKAGES = ("awslambdaric", "simplejson", "snapshot-restore-py")
START = "import sys; sys.path[:0] = sys.argv[2:]; from awslambdaric.__main__ import main; main(sys.argv[:2])"

NOBODY_LISTENS = "http://127.0.0.1:9"


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make build` made, for the processor of this machine."""
    folder = tmp_path_factory.mktemp("sam") / "build"
    architecture = "x86_64" if platform.machine() == "x86_64" else "arm64"
    command = ["make", "build", f"ARCH={architecture}", f"BUILD_DIR={folder}"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Lambda's runtime client and nothing else."""
    folder = tmp_path_factory.mktemp("runtime")
    for name in RUNTIME_PACKAGES:
        package = distribution(name)
        for file in package.files or ():
            if ".." not in file.parts:
                target = folder / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(package.locate_file(file)), target)
    return folder


@pytest.mark.req("O3")
@pytest.mark.parametrize("name", sorted(functions()))
def test_each_built_function_starts_from_the_build_alone(name: str, build: Path, runtime: Path, tmp_path: Path) -> None:
    kind, answer = invoke(name, build, runtime, tmp_path)
    assert kind in {"response", "error"}, "the process ended without a word"
    # Its database and queues lead nowhere, so an error is right; one of these says that the build lacks something.
    lacks = {"ImportModuleError", "UserCodeSyntaxError", "HandlerNotFound", "ModuleNotFoundError", "ImportError"}
    assert kind == "response" or answer["errorType"].removeprefix("Runtime.") not in lacks, answer


@pytest.mark.req("O3", "P12")
def test_the_built_health_function_answers(build: Path, runtime: Path, tmp_path: Path) -> None:
    kind, answer = invoke("HealthFunction", build, runtime, tmp_path)
    assert (kind, answer["statusCode"]) == ("response", 200)
    assert json.loads(answer["body"]) == {"status": "ok", "stage": "prod"}


@pytest.mark.req("O3", "P13")
def test_the_built_migrator_migrates_an_empty_database(
    build: Path, runtime: Path, tmp_path: Path, postgres_server: PostgresServer, fresh_database: DatabaseFactory
) -> None:
    make_roles(postgres_server.url())
    name = fresh_database(owner=OWNER).rsplit("/", 1)[1]
    address = postgres_server.url(name, OWNER, quote(ROLE_PASSWORD))
    settings = {"DATABASE_SECRET_ARN": "", "POSTGRES_URL_NON_POOLING": address, "STAGE": "local", "DATABASE_TLS": "off"}
    kind, answer = invoke("MigratorFunction", build, runtime, tmp_path, {"command": "up"}, settings)
    assert kind == "response", answer
    assert len(answer["applied"]) == len(list((PROJECT / "migrations" / "primary").glob("[0-9]*.sql")))


def test_the_layer_brings_the_migrations(build: Path) -> None:
    shipped = {file.name for file in (build / "GatehouseLayer" / "migrations" / "primary").glob("*.sql")}
    assert shipped == {file.name for file in (PROJECT / "migrations" / "primary").glob("*.sql")}
    assert shipped


@pytest.mark.parametrize("layer", LAYERS)
def test_the_layer_is_small(build: Path, layer: str) -> None:
    size = sum(file.stat().st_size for file in (build / layer).rglob("*") if file.is_file())
    assert size < MOST_LAYER_BYTES


@pytest.mark.parametrize("layer", LAYERS)
def test_every_module_of_the_layer_has_bytecode_that_is_never_checked(build: Path, layer: str) -> None:
    modules = list((build / layer / "python").rglob("*.py"))
    assert modules
    # The flags follow the magic number: bit 0 says "by hash", bit 1 says "compare with the source".
    flags = {file: Path(cache_from_source(str(file))).read_bytes()[4:8] for file in modules}
    assert {file for file, each in flags.items() if each != b"\x01\x00\x00\x00"} == set()


def test_no_bytecode_names_the_folder_of_the_build(build: Path) -> None:
    errors = build / "GatehouseLayer" / "python" / "gatehouse" / "errors.py"
    bytecode = Path(cache_from_source(str(errors))).read_bytes()
    assert b"/opt/python/gatehouse/errors.py" in bytecode
    assert str(build).encode() not in bytecode


@pytest.mark.parametrize("layer", LAYERS)
def test_the_layer_has_no_tests_and_no_boto3(build: Path, layer: str) -> None:
    packages = build / layer / "python"
    assert [path for path in packages.rglob("tests") if path.is_dir()] == []
    assert not (packages / "boto3").exists()


def invoke(
    name: str, build: Path, runtime: Path, tmp_path: Path, event: Any = None, settings: Mapping[str, str] | None = None
) -> tuple[str, Any]:
    """Start a built function under the runtime client and return ("response" | "error", body) to its one event."""
    handler = functions()[name]["Handler"]
    layers = [layer for layer in LAYERS if layer == "GatehouseLayer" or name in API_FUNCTIONS]
    search = [str(build / name), *(str(build / layer / "python") for layer in layers), str(runtime)]
    with TinyRuntimeApi(event or sample_event(name)).serving() as api:
        environment = sample_environment(name) | dict(settings or {})
        environment |= {"HOME": str(tmp_path), "AWS_LAMBDA_RUNTIME_API": api.address}
        command = [sys.executable, "-I", "-S", "-c", START, handler, *search]
        with subprocess.Popen(command, env=environment, cwd=build / name) as process:
            try:
                return api.answer(lambda: process.poll() is None)
            finally:
                process.kill()


def sample_event(name: str) -> Any:
    """Return what such a function gets: a request for one of its routes, a message, or nothing from a schedule."""
    events = functions()[name].get("Events", {}).values()
    routes = {
        f"{each['Properties']['Method']} {each['Properties']['Path']}" for each in events if each["Type"] == "HttpApi"
    }
    for file in REQUESTS:
        if (request := json.loads(file.read_text()))["routeKey"] in routes:
            return request
    message = {"messageId": "1", "receiptHandle": "r", "body": "{}", "attributes": {"ApproximateReceiveCount": "1"}}
    return {"Records": [message | {"eventSource": "aws:sqs"}]} if name in fed_by_queues() else {}


def sample_environment(name: str) -> dict[str, str]:
    """Return a value for each variable of the function; every address leads nowhere."""
    secret, queue = "arn:aws:secretsmanager:us-east-1:123456789012:secret:s-AbCdEf", f"{NOBODY_LISTENS}/123456789012/q"
    variables = {
        each: secret if each.endswith("_ARN") else queue for each in functions()[name]["Environment"]["Variables"]
    }
    return variables | {
        "PATH": os.defpath,
        "STAGE": "prod",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_ENDPOINT_URL": NOBODY_LISTENS,
        "AWS_LAMBDA_FUNCTION_NAME": name,
    }


def fed_by_queues() -> set[str]:
    """Return the functions that take messages."""
    mappings = our_template().of_type("AWS::Lambda::EventSourceMapping").values()
    return {each["Properties"]["FunctionName"]["Ref"] for each in mappings}
