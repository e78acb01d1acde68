"""Lets moto's CloudFormation make the queues of an expanded template and work out whatever refers to something.

Functions, layers and the API are not made in moto: the local stack runs them itself. A reference to one of them
is replaced by the name or ARN that AWS would give, before moto sees it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from local.sam_expansion import ACCOUNT, REGION, TemplateError, references

STACK_NAME = "gatehouse-local"
LAMBDA_ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}"

# Made in moto: the queues always, the others where a function's settings refer to them.
_QUEUE = "AWS::SQS::Queue"
_MADE_IN_MOTO = {_QUEUE, "AWS::SNS::Topic", "AWS::Logs::LogGroup", "AWS::SSM::Parameter", "AWS::S3::Bucket"}
_NO_VALUE = {"Ref": "AWS::NoValue"}


class MotoCloudFormation:
    """CloudFormation of one moto server, filled with one template."""

    def __init__(self, endpoint: str, parameters: Mapping[str, str]) -> None:
        import boto3  # type: ignore[import-untyped]  # boto3 ships no types
        from botocore.config import Config  # type: ignore[import-untyped]

        self._endpoint = endpoint
        self._parameters = parameters
        self._client = boto3.client(
            "cloudformation",
            endpoint_url=endpoint,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - moto takes anything
            config=Config(retries={"total_max_attempts": 1}),
        )

    def without_conditions(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return the template with every condition decided: resources dropped, branches of Fn::If chosen."""
        names = list(document.get("Conditions", {}))
        outputs = {f"Is{number}": {"Fn::If": [name, "true", "false"]} for number, name in enumerate(names)}
        found = self._outputs_of("conditions", document, {}, outputs) if names else {}
        decided = {name: found[f"Is{number}"] == "true" for number, name in enumerate(names)}
        sections = {
            section: {
                logical_id: _choose(entry, decided)
                for logical_id, entry in document.get(section, {}).items()
                if decided.get(entry.get("Condition", ""), True)
            }
            for section in ("Resources", "Outputs")
        }
        return {**{key: value for key, value in document.items() if key != "Conditions"}, **sections}

    def resolve(self, document: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Return the wanted parts of the template with a plain value in place of every reference.

        The queues of the template exist in moto afterwards, at the addresses that the values name.
        """
        resources = document["Resources"]
        stand_ins = _stand_ins(resources)
        trees = {label: _with_stand_ins(tree, stand_ins) for label, tree in wanted.items()}
        made = {name: resource for name, resource in resources.items() if resource["Type"] == _QUEUE}
        for label, tree in trees.items():
            _add_referenced(label, tree, document, made)
        questions = list({json.dumps(node): node for tree in trees.values() for node in _intrinsics(tree)}.values())
        answers = self._outputs_of(
            "stack", document, made, {f"Value{number}": node for number, node in enumerate(questions)}
        )
        values = {json.dumps(node): answers.get(f"Value{number}") for number, node in enumerate(questions)}
        return {label: _filled_in(label, tree, values) for label, tree in trees.items()}

    def _outputs_of(
        self, what: str, document: Mapping[str, Any], resources: Mapping[str, Any], outputs: Mapping[str, Any]
    ) -> dict[str, str]:
        """Make (or, on the same moto, change) a stack of these resources, and return its outputs."""
        from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

        name = STACK_NAME if what == "stack" else f"{STACK_NAME}-{what}"
        request = {
            "StackName": name,
            "TemplateBody": json.dumps(
                {
                    **{key: document[key] for key in ("Parameters", "Mappings", "Conditions") if key in document},
                    "Resources": resources,
                    "Outputs": {key: {"Value": value} for key, value in outputs.items()},
                }
            ),
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in self._parameters.items()],
        }
        try:
            try:
                self._client.create_stack(**request)
            except self._client.exceptions.AlreadyExistsException:
                self._client.update_stack(**request)
            stack = self._client.describe_stacks(StackName=name)["Stacks"][0]
        except ClientError as error:
            raise TemplateError(f"CloudFormation refuses the template: {error.response['Error']['Message']}") from error
        except BotoCoreError as error:
            raise TemplateError(f"moto's CloudFormation fails on the template ({type(error).__name__})") from error
        # moto's CloudFormation names queues at AWS's address whatever its own is.
        return {
            output["OutputKey"]: output["OutputValue"].replace(
                f"https://sqs.{REGION}.amazonaws.com/", f"{self._endpoint}/"
            )
            for output in stack.get("Outputs", [])
        }


def _choose(node: Any, decided: Mapping[str, bool]) -> Any:
    """Return the node with each Fn::If replaced by its branch, and what is AWS::NoValue left out."""
    if isinstance(node, list):
        return [item for item in (_choose(item, decided) for item in node) if item != _NO_VALUE]
    if not isinstance(node, dict):
        return node
    if node.keys() == {"Fn::If"}:
        condition, then, otherwise = node["Fn::If"]
        if condition not in decided:
            raise TemplateError(f"Fn::If asks for the condition {condition}, which is not in the template")
        return _choose(then if decided[condition] else otherwise, decided)
    chosen = {key: _choose(value, decided) for key, value in node.items()}
    return {key: value for key, value in chosen.items() if value != _NO_VALUE}


def _stand_ins(resources: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """Return what a reference to a function, version, alias or layer means, by (logical id, attribute)."""
    meanings: dict[tuple[str, str], Any] = {}
    for logical_id, resource in resources.items():
        properties = resource.get("Properties", {})
        match resource["Type"]:
            case "AWS::Lambda::Function":
                name = properties.get("FunctionName", f"{STACK_NAME}-{logical_id}")
                meanings[logical_id, ""] = name
                meanings[logical_id, "Arn"] = {"Fn::Join": ["", [f"{LAMBDA_ARN}:function:", name]]}
            case "AWS::Lambda::Version":
                meanings[logical_id, ""] = properties["FunctionName"]
                meanings[logical_id, "Version"] = "1"
            case "AWS::Lambda::Alias":
                function = {"Fn::GetAtt": [properties["FunctionName"]["Ref"], "Arn"]}
                meanings[logical_id, ""] = {"Fn::Join": ["", [function, ":", properties["Name"]]]}
            case "AWS::Lambda::LayerVersion":
                meanings[logical_id, ""] = f"{LAMBDA_ARN}:layer:{logical_id}:1"
            case "AWS::ApiGatewayV2::Api" | "AWS::ApiGatewayV2::Integration":
                meanings[logical_id, ""] = logical_id
    return meanings


def _with_stand_ins(node: Any, stand_ins: Mapping[tuple[str, str], Any]) -> Any:
    """Return the node with each reference to what moto does not make replaced by what it means."""
    if isinstance(node, list):
        return [_with_stand_ins(item, stand_ins) for item in node]
    if not isinstance(node, dict):
        return node
    if node.keys() == {"Ref"} or node.keys() == {"Fn::GetAtt"}:
        (reference,) = references(node)
        return _with_stand_ins(stand_ins[reference], stand_ins) if reference in stand_ins else node
    if node.keys() == {"Fn::Sub"}:
        text, own = node["Fn::Sub"] if isinstance(node["Fn::Sub"], list) else (node["Fn::Sub"], {})
        own = {key: _with_stand_ins(value, stand_ins) for key, value in own.items()}
        for name, attribute in references({"Fn::Sub": [text, dict.fromkeys(own, "")]}):
            if (name, attribute) in stand_ins:
                written = f"{name}.{attribute}" if attribute else name
                variable = re.sub(r"\W", "", written) + "StandIn"
                text = text.replace(f"${{{written}}}", f"${{{variable}}}")
                own[variable] = _with_stand_ins(stand_ins[name, attribute], stand_ins)
        return {"Fn::Sub": [text, own]}
    return {key: _with_stand_ins(value, stand_ins) for key, value in node.items()}


def _add_referenced(label: str, tree: Any, document: Mapping[str, Any], made: dict[str, Any]) -> None:
    """Add to `made` every resource that the tree refers to, and what those refer to in turn."""
    for name, _ in references(tree):
        if name in made or name.startswith("AWS::") or name in document.get("Parameters", {}):
            continue
        resource = document["Resources"].get(name)
        if resource is None:
            raise TemplateError(f"{label} refers to {name}, whose condition leaves it out")
        if resource["Type"] not in _MADE_IN_MOTO:
            raise TemplateError(f"{label} refers to {name} ({resource['Type']}), which the local stack does not have")
        made[name] = resource
        _add_referenced(name, resource, document, made)


def _intrinsics(node: Any) -> Iterator[Any]:
    """Yield the outermost Ref and Fn:: expressions of the tree."""
    if isinstance(node, list):
        for item in node:
            yield from _intrinsics(item)
    elif isinstance(node, dict):
        if _is_intrinsic(node):
            yield node
        else:
            yield from _intrinsics(list(node.values()))


def _filled_in(label: str, node: Any, values: Mapping[str, str | None]) -> Any:
    if isinstance(node, list):
        return [_filled_in(label, item, values) for item in node]
    if not isinstance(node, dict):
        return node
    if _is_intrinsic(node):
        value = values[json.dumps(node)]
        if value is None:
            raise TemplateError(f"{label}: moto's CloudFormation cannot work out {json.dumps(node)}")
        return value
    return {key: _filled_in(label, value, values) for key, value in node.items()}


def _is_intrinsic(node: Mapping[str, Any]) -> bool:
    return len(node) == 1 and all(key == "Ref" or key.startswith("Fn::") for key in node)
