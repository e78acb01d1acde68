"""Every gateway has each of its parts, in the order of docs/adding_a_gateway.md; a part that is missing is named."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import httpx
import pytest

from gatehouse.accounts import GatewayAccount
from gatehouse.gateways import NAMES, Verified, gateway_named
from gatehouse.gateways.paypal.certificates import CertificateStore
from gatehouse.gateways.paypal.verify import verify as verify_paypal
from gatehouse.http_request import read_request
from local.gateway_accounts import gateway_accounts
from local.kept_secrets import KeptPorts, KeptSecrets
from local.send import SIGNERS
from tests.support.gateway_samples import PROJECT, expected, samples
from tests.template.expansion import our_source, our_template
from tests.template.rules import webhook_routes_of

type Part = Callable[[str], list[str]]

GUIDE = PROJECT / "docs" / "adding_a_gateway.md"
EXPORTS = ("NAME", "CREDENTIALS", "HANDLED", "verify", "read_event", "translate")

pytestmark = pytest.mark.req("G1", "G2", "G3", "G4", "G5")


# ── The parts ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def is_a_package(name: str) -> list[str]:
    """Its folder has the files that every gateway has, and offers what intake and the commands use."""
    package = package_of(name)
    if package is None:
        return [f"there is no gatehouse/gateways/{name}/"]
    wrong = missing(f"layers/gatehouse/gatehouse/gateways/{name}/verify.py")
    wrong += missing(f"layers/gatehouse/gatehouse/gateways/{name}/translate.py")
    wrong += [f"gateways/{name} does not offer {each}" for each in EXPORTS if not hasattr(package, each)]
    if not wrong and name != package.NAME:
        wrong.append(f"gateways/{name} calls itself {package.NAME}")
    if not wrong and sum(each.signs for each in package.CREDENTIALS) != 1:
        wrong.append(f"of the credentials of {name}, not one alone signs")
    return wrong


def is_known(name: str) -> list[str]:
    """It is in the list from which commands and replay choose."""
    return [] if name in NAMES else [f"gatehouse.gateways.NAMES does not name {name}"]


def has_a_handler(name: str) -> list[str]:
    """Its function is the shared one with its package put in, and decides nothing itself."""
    file = PROJECT / "functions" / f"{name}_webhook" / "handler.py"
    if not file.is_file():
        return missing(f"functions/{name}_webhook/handler.py")
    code = file.read_text().partition('"""\n\n')[2]
    wanted = (
        f"from gatehouse.gateways import {name}\nfrom gatehouse.intake.receive import webhook_handler\n\n"
        f"handler = webhook_handler({name})\n"
    )
    return [] if code == wanted else [f"functions/{name}_webhook/handler.py does more than hand {name} to intake"]


def is_in_the_template(name: str) -> list[str]:
    """Its function has the secret of its own gateway and of no other, an alias, SnapStart and a bound."""
    functions = {
        each["Properties"]["Handler"]: each["Properties"]
        for each in our_source()["Resources"].values()
        if each["Type"] == "AWS::Serverless::Function"
    }
    function = functions.get(f"{name}_webhook.handler.handler")
    if function is None:
        return [f"template.yaml has no function for {name}_webhook"]
    wanted = {
        "GATEWAY_SECRET_ARN": {"Ref": f"{prefix(name)}SecretArn"},
        "ReservedConcurrentExecutions": {"Ref": f"{prefix(name)}WebhookConcurrency"},
        "AutoPublishAlias": "live",
        "SnapStart": {"ApplyOn": "PublishedVersions"},
    }
    found = {**function, **function["Environment"]["Variables"]}
    return [f"{key} of {name}_webhook is not {value}" for key, value in wanted.items() if found.get(key) != value]


def has_its_routes(name: str) -> list[str]:
    """There is a route for the default account and one for all others, each with a throttle of its own."""
    routes = webhook_routes_of(our_template())
    own = {route for route, folder in routes.items() if folder == f"{name}_webhook"}
    wrong = [] if f"POST /webhooks/{name}" in own else [f"there is no route POST /webhooks/{name}"]
    if not any(route.startswith(f"POST /webhooks/{name}/{{account}}") for route in own):
        wrong.append(f"there is no route POST /webhooks/{name}/{{account}}")
    limits = our_source()["Resources"]["HttpApi"]["Properties"]["RouteSettings"]
    return wrong + [f"{route} has no throttle" for route in sorted(own) if route not in limits]


def has_samples(name: str) -> list[str]:
    """For every event name that it handles there is a sample, each with a reviewed expectation, and their origin."""
    package = package_of(name)
    if package is None:
        return [f"there is nothing to have samples of {name} for"]
    sampled = {sample.partition("__")[0].lower() for sample in samples(name)}
    wrong = [f"events/{name}/ has no sample of {each}" for each in package.HANDLED if each.lower() not in sampled]
    wrong += missing(f"events/{name}/README.md")
    if wrong := wrong + missing(f"tests/gateways/{name}/expected_facts.json"):
        return wrong
    return [f"nobody has reviewed what {each} becomes" for each in samples(name).keys() - expected(name).keys()]


def has_a_sample_request(name: str) -> list[str]:
    """There is a whole signed request for `sam local invoke`."""
    return missing(f"events/requests/{name}_webhook.json")


def has_tests(name: str) -> list[str]:
    """Its signature is proved, by vectors or by tests of its own, and so is what its events become."""
    folder = PROJECT / "tests" / "gateways" / name
    wrong = missing(f"tests/gateways/{name}/test_translate.py")
    if not any((folder / each).is_file() for each in ("signature_vectors.json", "test_verify.py")):
        wrong.append(f"tests/gateways/{name}/ has neither signature_vectors.json nor test_verify.py")
    return wrong


def has_a_local_account(name: str) -> list[str]:
    """`make run` has an account at it, with a sample to show."""
    samples_shown = local_samples()
    if name not in samples_shown:
        return [f"local/gateway_accounts.py has no account at {name}"]
    return [] if samples_shown[name].is_file() else [f"{samples_shown[name]} is not there"]


def has_a_signer(name: str) -> list[str]:
    """`make send` signs as it does."""
    return [] if name in SIGNERS else [f"local/send.py cannot sign as {name}"]


def is_documented(name: str) -> list[str]:
    """The guide to deploying tells its secret and where its events are sent."""
    text = (PROJECT / "docs" / "deploy.md").read_text()
    wanted = (f"`{prefix(name)}SecretArn`", f"/webhooks/{name}")
    return [f"docs/deploy.md does not tell {each}" for each in wanted if each not in text]


PARTS: tuple[Part, ...] = (
    is_a_package,
    is_known,
    has_a_handler,
    is_in_the_template,
    has_its_routes,
    has_samples,
    has_a_sample_request,
    has_tests,
    has_a_local_account,
    has_a_signer,
    is_documented,
)


# ── The tests ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_every_gateway_has_every_part(name: str, part: Part) -> None:
    assert part(name) == [], GUIDE


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_a_part_that_is_missing_is_noticed(part: Part) -> None:
    complaints = part("lemonade")
    assert complaints
    assert all("lemonade" in each or "Lemonade" in each for each in complaints)


def test_no_folder_of_a_gateway_is_left_out() -> None:
    gateways = PROJECT / "layers" / "gatehouse" / "gatehouse" / "gateways"
    assert {file.parent.name for file in gateways.glob("*/__init__.py")} == set(NAMES)
    webhooks = {path.parent.name.removesuffix("_webhook") for path in PROJECT.glob("functions/*_webhook/handler.py")}
    assert webhooks == set(NAMES)


def test_the_guide_names_places_that_exist() -> None:
    """Each place that it names is there for Stripe, the first gateway."""
    places = re.findall(r"`([\w.]+/[\w./]*<gateway>[\w./]*)`", GUIDE.read_text())
    files = [place.replace("<gateway>", "stripe") for place in places]
    assert len(files) > 5
    assert [file for file in files if not (PROJECT / file).exists()] == []


# What signs the requests in events/requests/; the README there tells the same.
PUBLISHED: dict[str, dict[str, Any]] = {
    "stripe": {"signing_secrets": ("whsec_test_secret",)},
    "paypal": {"signing_secrets": ("WEBHOOK_ID",)},
    "paystack": {"signing_secrets": ("sk_test_EXAMPLEONLY0000000000000000000000000",)},
    "sayswitch": {"signing_secrets": ("your-test-secret-key",)},
    "mx_merchant": {
        "signing_secrets": ("EXAMPLE-ONLY-EXAMPLE-ONLY-EXAMPLE-ONLY",),
        "more": {"merchant_id": "418355562"},
    },
}


@pytest.mark.req("D4")
@pytest.mark.parametrize("name", NAMES)
def test_the_sample_request_is_genuine_at_its_own_time(name: str) -> None:
    event = json.loads((PROJECT / "events" / "requests" / f"{name}_webhook.json").read_text())
    request = read_request(event)
    account = GatewayAccount(name, "default", "default", "both", **PUBLISHED[name])
    if name == "paypal":
        verified = verify_paypal(request, account, now=request.received_at, certificates=paypals_certificates())
    else:
        verified = gateway_named(name).verify(request, account, now=request.received_at)
    assert verified == Verified(0)
    assert request.received_at < datetime(2027, 1, 1, tzinfo=UTC)
    assert request.body in [file.read_bytes() for file in samples(name).values()]
    told = (PROJECT / "events" / "requests" / "README.md").read_text()
    assert f"`{PUBLISHED[name]['signing_secrets'][0]}`" in told


def paypals_certificates() -> CertificateStore:
    """Return PayPal's certificates without asking PayPal."""
    folder = PROJECT / "tests" / "gateways" / "paypal" / "certificates"

    def answer(request: httpx.Request) -> httpx.Response:
        file = folder / f"{request.url.path.rpartition('/')[2]}.pem"
        return httpx.Response(200, stream=httpx.ByteStream(file.read_bytes()))

    return CertificateStore(transport=httpx.MockTransport(answer))


# ── What the parts look at ────────────────────────────────────────────────────────────────────────────────────────────
def package_of(name: str) -> ModuleType | None:
    """Return the package of a gateway, whether or not NAMES knows it."""
    module = f"gatehouse.gateways.{name}"
    return import_module(module) if find_spec(module) else None


def prefix(name: str) -> str:
    """Return how the gateway's parameters begin in template.yaml."""
    return "".join(word.title() for word in name.split("_"))


def missing(path: str) -> list[str]:
    """Return the complaint that a file is not there."""
    return [] if (PROJECT / path).is_file() else [f"there is no {path}"]


@cache
def local_samples() -> dict[str, Path]:
    """Return the sample of each gateway that `make run` has an account at."""
    with TemporaryDirectory() as folder:
        found = gateway_accounts(KeptSecrets(Path(folder)), KeptPorts(Path(folder)), Path(folder))
        for account in found:
            if account.api:
                account.api.stop()
    return {account.name: account.sample for account in found}
