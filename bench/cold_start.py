"""From the start of a function's process to its first answer, beside a handler that imports pg8000 and answers.

Both run the built layer (`make build`) under Lambda's runtime client, with nothing of this checkout on their path. Our
first answer is that of a recorded event: secrets fetched, database reached, one flush.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from importlib.metadata import distribution
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter, time_ns
from typing import Any, NamedTuple

from bench.figures import Figure, alternating
from bench.ground import Cloud, cloud, ground
from bench.samples import PROCESSING, requests
from local.child_process import CHECKOUT
from tests.support import pgbouncer
from tests.support.pgbouncer import PgBouncer
from tests.support.tiny_runtime_api import TinyRuntimeApi

ROUNDS = 15
SPLITS = 9
MOST_TIMES_THE_FLOOR = 1.3

# What Lambda's Python image brings; ours must not lean on more, and `-I -S` keeps .venv and the environment out.
RUNTIME_PACKAGES = ("awslambdaric", "simplejson", "snapshot-restore-py")
START = "import sys; sys.path[:0] = sys.argv[2:]; from awslambdaric.__main__ import main; main(sys.argv[:2])"

BARE = """
def handler(event, context):
    return {"statusCode": 200, "body": "{}"}
"""
FLOOR = "import pg8000\n" + BARE

# The same function, telling when it reached what; only in runs of their own, which no figure is taken from.
WATCHED = """
import time
moments = [("python and runtime client", time.time_ns())]
from stripe_webhook.handler import handler as ours
moments.append(("imports", time.time_ns()))
from gatehouse import secrets
from gatehouse.database import connection

def watched(owner, name, what):
    inner = getattr(owner, name)
    def outer(*arguments, **options):
        begun = time.time_ns()
        try:
            return inner(*arguments, **options)
        finally:
            spent.append((what, time.time_ns() - begun))
    setattr(owner, name, outer)

spent = []
watched(secrets.SecretStore, "_fetch", "secrets")
watched(connection, "log_in", "connect")
watched(connection.Database, "_exchange", "flush")

def handler(event, context):
    begun = time.time_ns()
    answer = ours(event, context)
    return {**answer, "moments": moments, "spent": spent, "handler": [begun, time.time_ns()]}
"""


class Built(NamedTuple):
    """A built function with its layer, and the runtime client."""

    code: Path
    layer: Path
    runtime: Path


def run() -> list[Figure]:
    """Measure process start to first answer, directly and through a pooler, and print where ours spends it."""
    figures = []
    with ExitStack() as started:
        folder = Path(started.enter_context(tempfile.TemporaryDirectory(prefix="gatehouse-bench-build-")))
        built = build(folder)
        place = started.enter_context(ground())
        bare = with_handler(built, folder, "bare", BARE)
        imported = with_handler(built, folder, "floor", FLOOR)
        watched = with_handler(built, folder, "watched", WATCHED)
        nothing = median(first_answer("bare.handler", bare, {}, {}) for _ in range(SPLITS))
        print(f"  a handler that imports nothing: {nothing:.1f} ms")
        ways: dict[str, int | None] = {"a direct connection": None}
        if pgbouncer.installed():
            bouncer = PgBouncer(place.server)
            started.callback(bouncer.stop)
            bouncer.start()
            ways["PgBouncer"] = bouncer.port
        else:
            print(f"  not measured through a pooler: {pgbouncer.MISSING}")
        for way, port in ways.items():
            sky = started.enter_context(cloud(place, port=port))
            stock = requests(PROCESSING)
            environment = lambda_environment(sky)
            floor = partial(first_answer, "floor.handler", imported, {}, {})
            measured = alternating(floor, candidate(built, stock, environment), rounds=ROUNDS)
            name = f"cold start to first answer, {way}"
            figures.append(Figure(name, measured.value, "ms", measured.floor, MOST_TIMES_THE_FLOOR))
            splits = [split(watched, request, environment) for request in islice(stock, SPLITS)]
            parts = (f"{what} {median(each[what] for each in splits):.1f}" for what in splits[0])
            print(f"  {way}: {', '.join(parts)} ms", flush=True)
    return figures


def candidate(built: Built, stock: Iterator[Any], environment: Mapping[str, str]) -> Callable[[], float]:
    """Return what measures one first answer of ours, to an event that is new each time."""
    return lambda: first_answer("stripe_webhook.handler.handler", built, next(stock), environment)


def build(folder: Path) -> Built:
    """Build the bundle for this machine as it is shipped, and copy the runtime client beside it."""
    architecture = "x86_64" if platform.machine() == "x86_64" else "arm64"
    command = ["make", "build", f"ARCH={architecture}", f"BUILD_DIR={folder / 'build'}"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"make build failed: {done.stderr}")
    runtime = folder / "runtime"
    for name in RUNTIME_PACKAGES:
        package = distribution(name)
        for file in package.files or ():
            if ".." not in file.parts:
                (runtime / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(package.locate_file(file)), runtime / file)
    compile_all(runtime)
    return Built(folder / "build" / "StripeWebhookFunction", folder / "build" / "GatehouseLayer" / "python", runtime)


def with_handler(built: Built, folder: Path, name: str, code: str) -> Built:
    """Return the build with a module of another handler put before it."""
    code_folder = folder / name
    if not code_folder.exists():
        shutil.copytree(built.code, code_folder)
        (code_folder / f"{name}.py").write_text(code)
        compile_all(code_folder)
    return built._replace(code=code_folder)


def compile_all(folder: Path) -> None:
    """Give every module bytecode that is never checked, as the layer's has."""
    command = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder)]
    subprocess.run(command, check=True)


def lambda_environment(sky: Cloud) -> dict[str, str]:
    """Return what Lambda and the template put into the function's environment."""
    return {
        **sky.spec("stripe_webhook").environment,
        "AWS_ENDPOINT_URL": sky.endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": "us-east-1",
        "DATABASE_TLS": "off",
        "PATH": os.defpath,
    }


def first_answer(handler: str, built: Built, event: Any, environment: Mapping[str, str]) -> float:
    """Return the milliseconds from the start of the process to its answer."""
    return _invoked(handler, built, event, environment)[1]


def split(built: Built, event: Any, environment: Mapping[str, str]) -> dict[str, float]:
    """Return the milliseconds that each part of a first answer takes."""
    begun = time_ns()
    answer, milliseconds = _invoked("watched.handler", built, event, environment)
    (_, imported_from), (_, imported) = answer["moments"]
    parts = {"start of Python and runtime client": imported_from - begun, "imports": imported - imported_from}
    for what, nanoseconds in answer["spent"]:
        parts[what] = parts.get(what, 0) + nanoseconds
    entered, left = answer["handler"]
    parts["everything else in the handler"] = (left - entered) - sum(n for _, n in answer["spent"])
    told = {what: nanoseconds / 1e6 for what, nanoseconds in parts.items()}
    return {**told, "all": milliseconds}


def _invoked(handler: str, built: Built, event: Any, environment: Mapping[str, str]) -> tuple[Any, float]:
    search = [str(folder) for folder in (built.code, built.layer, built.runtime)]
    with TinyRuntimeApi(event).serving() as api:
        command = [sys.executable, "-I", "-S", "-c", START, handler, *search]
        variables = {**environment, "AWS_LAMBDA_RUNTIME_API": api.address}
        begun = perf_counter()
        with subprocess.Popen(command, env=variables, cwd=built.code, stdout=subprocess.DEVNULL) as process:
            try:
                kind, answer = api.answer(lambda: process.poll() is None)
                milliseconds = (perf_counter() - begun) * 1000
            finally:
                process.kill()
    if kind != "response" or answer.get("statusCode") != 200 or "queued" in json.dumps(answer):
        raise RuntimeError(f"{handler} did not do its work: {answer}")
    return answer, milliseconds
