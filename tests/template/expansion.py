"""template.yaml as we write it, and as CloudFormation gets it from SAM."""

import copy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from samtranslator.parser.parser import Parser  # type: ignore[import-untyped]  # SAM ships no types
from samtranslator.translator.translator import Translator  # type: ignore[import-untyped]  # as above
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]  # as above

PROJECT = Path(__file__).parents[2]
TEMPLATE = PROJECT / "template.yaml"

type Json = dict[str, Any]


@dataclass(frozen=True)
class Template:
    """One template, parsed (`source`) and expanded by SAM's own translator (`expanded`)."""

    source: Json
    expanded: Json

    def of_type(self, kind: str) -> Json:
        """Return the expanded resources of a CloudFormation type, by logical id."""
        return {name: each for name, each in self.expanded["Resources"].items() if each["Type"] == kind}

    def default_of(self, value: Any) -> Any:
        """Return the default of the parameter that `value` refers to, or `value` itself."""
        if isinstance(value, dict) and set(value) == {"Ref"}:
            return self.source["Parameters"][value["Ref"]]["Default"]
        return value


def expand(source: Json) -> Template:
    """Expand a parsed template as CloudFormation would; the code is said to be in a bucket, as after `sam package`."""
    packaged = copy.deepcopy(source)
    packaged["Globals"]["Function"]["CodeUri"] = "s3://packaged/functions"
    for resource in packaged["Resources"].values():
        if resource["Type"] == "AWS::Serverless::LayerVersion":
            resource["Properties"]["ContentUri"] = "s3://packaged/layer"
    parameters = {name: each.get("Default", f"<{name}>") for name, each in source["Parameters"].items()}
    translator = Translator({}, Parser(), boto_session=SimpleNamespace(region_name="us-east-1"))
    return Template(source, translator.translate(packaged, parameters))


@cache
def our_source() -> Json:
    """Return template.yaml, parsed; not to be changed by who reads it."""
    parsed: Json = yaml_parse(TEMPLATE.read_text())
    return parsed


@cache
def our_template() -> Template:
    """Return template.yaml, parsed and expanded."""
    return expand(our_source())
