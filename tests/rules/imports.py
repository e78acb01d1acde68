"""The rules of who may import what, each a function that returns what is wrong, in words."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PROJECT = Path(__file__).parents[2]
ROOTS = (PROJECT / "layers" / "gatehouse", PROJECT / "functions", PROJECT)

# From the ground up; a module may import from its own floor and from those below. What is not named stands with the
# handlers when it is a function, with the capabilities when it is a folder of the package, else on the ground.
FLOORS = (
    ("gatehouse", "gatehouse.database.sql", "gatehouse.forwarding.loops"),
    ("gatehouse.database",),
    ("gatehouse.models", "gatehouse.jobs", "gatehouse.intake", "gatehouse.gateways", "gatehouse.migrations"),
    (
        "gatehouse.http_api",
        "gatehouse.enrichment",
        "gatehouse.forwarding",
        "gatehouse.imports",
        "gatehouse.reconciliation",
        "gatehouse.backup",
        "gatehouse.membership",
        "gatehouse.reports",
        "gatehouse.tenants",
    ),
    ("functions",),
)

# What a module may import that must not touch network, files, clock or environment.
# importlib is among them because gatehouse.gateways finds a gateway's folder by its name; secrets makes random bytes.
PURE_LIBRARIES = {
    *(
        "base64",
        "binascii",
        "collections",
        "dataclasses",
        "datetime",
        "decimal",
        "enum",
        "functools",
        "hashlib",
        "hmac",
    ),
    *(
        "importlib",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
        "secrets",
        "string",
        "types",
        "typing",
        "unicodedata",
        "zoneinfo",
    ),
}
# Each outside library has its owners; boto3 has none, because it costs 180 ms of a cold start.
OWNERS = {
    "pg8000": {"gatehouse.database.login"},
    "boto3": set[str](),
    "botocore": set[str](),
    "cryptography": {"gatehouse.sealing", "gatehouse.gateways.paypal.certificates"},
    "idna": {"gatehouse.forwarding.targets"},
    "aws_lambda_powertools": {"gatehouse.jobs.batch", "gatehouse.intake.replay"},
    # A folder owns for all that it holds. These are in the second layer, which webhooks and workers do not have.
    "fastapi": {"gatehouse.http_api", "analytics_api", "tenants_api", "console"},
    "starlette": {"gatehouse.http_api", "console.app", "console.errors"},
    "pydantic": {"gatehouse.http_api", "analytics_api", "tenants_api", "console"},
    "jinja2": {"console.views"},
    "markupsafe": {"console.views"},
    "mangum": {"gatehouse.http_api.lambda_handler"},
    "jwt": {"gatehouse.tenants.tokens"},
}
# Pure beside every gateway's verify.py and translate.py.
PURE_MODULES = {
    *("gatehouse.forwarding.app_headers", "gatehouse.forwarding.circuit", "gatehouse.forwarding.excerpt"),
    *("gatehouse.forwarding.loops", "gatehouse.forwarding.outcome", "gatehouse.forwarding.rate"),
    "gatehouse.forwarding.sign",
    "gatehouse.scrub",
}
API_FUNCTIONS = {"analytics_api", "tenants_api", "console"}
SQS_SENDERS = {"gatehouse.jobs.bell", "gatehouse.aws"}
ENVIRONMENT_READERS = {"gatehouse.settings"}


@dataclass(frozen=True)
class Module:
    """One source file under its import name."""

    name: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed source."""
        return ast.parse(self.source)

    @property
    def is_a_function(self) -> bool:
        """Whether this is the code of a Lambda function and not of the package."""
        return not self.name.startswith("gatehouse")

    def imports(self) -> Iterator[str]:
        """Give the dotted name of everything that is imported, also inside functions and for types only."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


type ImportRule = Callable[[list[Module]], list[str]]


def modules() -> list[Module]:
    """Return every module that runs in Lambda."""
    package, functions = ROOTS[0], ROOTS[1]
    files = [(file, package) for file in sorted((package / "gatehouse").rglob("*.py"))]
    files += [(file, functions) for file in sorted(functions.rglob("*.py"))]
    return [Module(_import_name(file.relative_to(root)), file.read_text()) for file, root in files]


def imports_point_down(all_modules: list[Module]) -> list[str]:
    """functions -> capabilities -> intake, jobs, models, gateways -> database -> the ground."""
    return [
        f"{module.name} imports {each}, which stands above it"
        for module in all_modules
        for each in module.imports()
        if each.startswith("gatehouse") and _floor(each) > _floor(module.name)
    ]


def lambda_code_knows_nothing_else(all_modules: list[Module]) -> list[str]:
    """What runs in Lambda must not need the command line, the local stack or the tests, which are not shipped."""
    return [
        f"{module.name} imports {each}, which is not in the bundle"
        for module in all_modules
        for each in module.imports()
        if each.split(".")[0] in {"cli", "local", "tests", "bench"}
    ]


def what_should_be_pure_is(all_modules: list[Module]) -> list[str]:
    """A gateway's verify.py and translate.py, PURE_MODULES, and all of ours that they lean on, just compute."""
    by_name = {module.name: module for module in all_modules}
    waiting = [
        name
        for name in by_name
        if name in PURE_MODULES or (name.startswith("gatehouse.gateways.") and _last(name) in {"verify", "translate"})
    ]
    waiting += sorted(PURE_MODULES & by_name.keys())
    seen, wrong = set(waiting), []
    while waiting:
        name = waiting.pop()
        for each in by_name[name].imports():
            ours = each if each in by_name else each.rpartition(".")[0]
            if each.startswith("gatehouse") and ours not in seen:
                seen.add(ours)
                waiting.append(ours)
            elif not each.startswith("gatehouse") and each.split(".")[0] not in PURE_LIBRARIES:
                wrong.append(f"{name} imports {each}, which may do I/O")
    return wrong


def each_library_has_one_owner(all_modules: list[Module]) -> list[str]:
    """One module wraps each outside library; the ones with no owner cost too much at a cold start."""
    return [
        f"{module.name} imports {each}"
        for module in all_modules
        for each in module.imports()
        if (owners := OWNERS.get(each.split(".")[0])) is not None
        and not any(module.name == owner or module.name.startswith(f"{owner}.") for owner in owners)
    ]


def only_the_api_functions_have_their_layer(all_modules: list[Module]) -> list[str]:
    """What needs the second layer would stop a function that does not have it at its first import."""
    return [
        f"{module.name} imports {each}, which needs the layer of the API functions"
        for module in all_modules
        for each in module.imports()
        if each.startswith("gatehouse.http_api")
        and not module.name.startswith("gatehouse.http_api")
        and module.name.split(".")[0] not in API_FUNCTIONS
    ]


def only_the_bell_sends_to_sqs(all_modules: list[Module]) -> list[str]:
    """Whoever else sent would need its own answer to "and when SQS is away?"."""
    return [
        f"{module.name} sends to SQS"
        for module in all_modules
        if module.name not in SQS_SENDERS
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and node.value in {"SendMessage", "SendMessageBatch"}
    ]


def only_settings_reads_the_environment(all_modules: list[Module]) -> list[str]:
    """A variable that is read elsewhere is neither typed nor documented."""
    return [
        f"{module.name} reads the environment"
        for module in all_modules
        if module.name not in ENVIRONMENT_READERS
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"}
    ]


IMPORT_RULES: tuple[ImportRule, ...] = (
    imports_point_down,
    lambda_code_knows_nothing_else,
    what_should_be_pure_is,
    each_library_has_one_owner,
    only_the_api_functions_have_their_layer,
    only_the_bell_sends_to_sqs,
    only_settings_reads_the_environment,
)


def _floor(name: str) -> int:
    if not name.startswith("gatehouse"):
        return len(FLOORS) - 1
    named = [(floor, each) for floor, names in enumerate(FLOORS) for each in names]
    return max((len(each), floor) for floor, each in named if name == each or name.startswith(f"{each}."))[1]


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _import_name(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
