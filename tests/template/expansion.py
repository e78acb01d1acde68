"""template.yaml as we write it, and as CloudFormation gets it from SAM."""

import copy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from local import sam_expansion

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
    """Expand a parsed template as CloudFormation would in production."""
    secrets = {name: f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}" for name in source["Parameters"]}
    parameters = {name: each.get("Default", secrets[name]) for name, each in source["Parameters"].items()}
    return Template(source, sam_expansion.expand(copy.deepcopy(source), parameters | {"Stage": "prod"}))


@cache
def our_source() -> Json:
    """Return template.yaml, parsed; not to be changed by who reads it."""
    return sam_expansion.read_template(TEMPLATE)


@cache
def our_template() -> Template:
    """Return template.yaml, parsed and expanded."""
    return expand(our_source())
