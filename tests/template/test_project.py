"""template.yaml and the folders beside it speak of the same things."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gatehouse.settings import STAGES, Settings
from tests.template.expansion import PROJECT, Template, our_source, our_template
from tests.template.rules import routes_of

# SAM adds a function's own layers to those of Globals.
API_FUNCTIONS = {"AnalyticsApiFunction", "TenantsApiFunction", "ConsoleFunction"}
REQUESTS = sorted((PROJECT / "events" / "requests").glob("*.json"))


@pytest.mark.req("D1")
def test_the_top_level_is_what_the_owner_asked_for() -> None:
    wanted = ["template.yaml", "functions", "layers", "migrations", "events", "tests", "samconfig.toml", "README.md"]
    assert [name for name in wanted if not (PROJECT / name).exists()] == []


def test_each_function_has_its_folder_and_each_folder_its_function() -> None:
    handlers = {each["Handler"] for each in functions().values()}
    folders = {f"{path.parent.name}.handler.handler" for path in (PROJECT / "functions").glob("*/handler.py")}
    assert handlers == folders


def test_all_functions_share_the_layer_and_one_build() -> None:
    shared = our_source()["Globals"]["Function"]
    assert shared["Layers"] == [{"Ref": "GatehouseLayer"}]
    assert shared["CodeUri"] == "functions/"
    assert [name for name, each in functions().items() if "CodeUri" in each] == []


def test_only_the_functions_behind_the_api_have_its_layer() -> None:
    with_layer = {name: each["Layers"] for name, each in functions().items() if "Layers" in each}
    assert with_layer == {name: [{"Ref": "ApiLayer"}] for name in API_FUNCTIONS}


def test_every_variable_of_a_function_is_a_setting() -> None:
    known = {name.upper() for name in Settings.__dataclass_fields__}
    given = set(our_source()["Globals"]["Function"]["Environment"]["Variables"])
    for each in functions().values():
        given |= set(each.get("Environment", {}).get("Variables", {}))
    assert given - known == set()


def test_the_stages_of_the_template_are_those_of_the_settings() -> None:
    assert tuple(our_source()["Parameters"]["Stage"]["AllowedValues"]) == STAGES


@pytest.mark.req("D4")
@pytest.mark.parametrize("file", REQUESTS, ids=lambda file: file.stem)
def test_each_sample_request_is_valid(file: Path) -> None:
    assert complaints(json.loads(file.read_text()), our_template()) == []


def test_an_invalid_sample_request_is_noticed() -> None:
    event = json.loads((PROJECT / "events" / "requests" / "health.json").read_text())
    event |= {"routeKey": "GET /wealth", "headers": {"Accept": "x"}, "isBase64Encoded": "no", "version": "1.0"}
    assert len(complaints(event, our_template())) == 5


def complaints(event: dict[str, Any], template: Template) -> list[str]:
    """Return what API Gateway would never send so."""
    http = event["requestContext"]["http"]
    wrong = []
    if event["version"] != "2.0":
        wrong.append("version is not 2.0")
    if event["routeKey"] not in {f"{method} {path}" for method, path in routes_of(template)}:
        wrong.append(f"{event['routeKey']} is no route")
    if (
        event["routeKey"].split()[0] not in ("ANY", http["method"])
        or event["routeKey"] != event["requestContext"]["routeKey"]
    ):
        wrong.append("routeKey, method and the context's routeKey differ")
    if event["rawPath"] != http["path"]:
        wrong.append("rawPath and the context's path differ")
    if any(name != name.lower() for name in event["headers"]):
        wrong.append("header names are in lower case")
    if not isinstance(event["isBase64Encoded"], bool) or not isinstance(event.get("body", ""), str):
        wrong.append("body or isBase64Encoded has the wrong type")
    return wrong


# ── The layers and the deployment ─────────────────────────────────────────────────────────────────────────────────────
LAYERS = {"gatehouse": "layer", "api": "api_layer"}


@pytest.mark.req("D2")
@pytest.mark.parametrize(("folder", "lock"), LAYERS.items())
def test_each_layer_is_built_from_its_lock(folder: str, lock: str) -> None:
    built_from = (PROJECT / "layers" / folder / "requirements.txt").read_text()
    assert built_from == (PROJECT / "requirements" / f"{lock}.lock").read_text(), "run `make lock`"


# Both layers are unpacked into one folder, so what both hold must be the same there.
@pytest.mark.parametrize("lock", LAYERS.values())
def test_the_tests_run_with_the_versions_of_the_layers(lock: str) -> None:
    layer, development = pins(lock), pins("dev")
    assert {name: development.get(name) for name in layer} == layer


def test_each_stage_can_be_deployed_and_holds_no_secret() -> None:
    stages = tomllib.loads((PROJECT / "samconfig.toml").read_text())
    assert set(STAGES) - {"local"} <= set(stages)
    for stage in set(STAGES) - {"local"}:
        deploy = stages[stage]["deploy"]["parameters"]
        assert deploy["stack_name"] == f"gatehouse-{stage}"
        assert f"Stage={stage}" in deploy["parameter_overrides"]
        assert "confirm_changeset" in deploy
        assert not any("arn:aws" in each for each in deploy["parameter_overrides"])


def functions() -> dict[str, Any]:
    """Return the properties of every function, as template.yaml has them."""
    resources = our_source()["Resources"].items()
    return {name: each["Properties"] for name, each in resources if each["Type"] == "AWS::Serverless::Function"}


def pins(name: str) -> dict[str, str]:
    """Return name and version of every package in a lock."""
    lines = (PROJECT / "requirements" / f"{name}.lock").read_text().splitlines()
    return dict(line.split(" ")[0].split("==") for line in lines if "==" in line and not line.startswith((" ", "#")))
