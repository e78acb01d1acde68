"""Reads template.yaml as AWS would: SAM's own translator expands it, moto's CloudFormation resolves its references."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.moto_cloudformation import STACK_NAME, MotoCloudFormation
from local.sam_expansion import (
    ACCOUNT,
    REGION,
    TemplateError,
    expand,
    local_code_folder,
    parameter_values,
    read_template,
)

__all__ = [
    "ACCOUNT",
    "REGION",
    "FunctionSpec",
    "QueueMapping",
    "Route",
    "Schedule",
    "Stack",
    "TemplateError",
    "load_stack",
]

_ANY_METHOD = "x-amazon-apigateway-any-method"
# What the local stack reads of each kind of resource; everything else may refer to what only AWS has.
_READ = {
    "AWS::Lambda::Function": (
        "Code Environment FunctionName Handler Layers LoggingConfig MemorySize PackageType ReservedConcurrentExecutions"
        " Runtime Timeout"
    ),
    "AWS::Lambda::LayerVersion": "Content",
    "AWS::Lambda::EventSourceMapping": (
        "BatchSize Enabled EventSourceArn FilterCriteria FunctionName FunctionResponseTypes"
        " MaximumBatchingWindowInSeconds ScalingConfig"
    ),
    "AWS::Events::Rule": "ScheduleExpression State Targets",
    "AWS::Scheduler::Schedule": "Name ScheduleExpression ScheduleExpressionTimezone State Target",
    "AWS::ApiGatewayV2::Api": "Body",
    "AWS::ApiGatewayV2::Route": "ApiId RouteKey Target",
    "AWS::ApiGatewayV2::Integration": "IntegrationUri PayloadFormatVersion",
    "AWS::ApiGatewayV2::Stage": "ApiId DefaultRouteSettings RouteSettings",
    "AWS::CloudWatch::Alarm": (
        "AlarmName AlarmActions AlarmDescription ComparisonOperator DatapointsToAlarm Dimensions EvaluationPeriods"
        " ExtendedStatistic MetricName Metrics Namespace Period Statistic Threshold TreatMissingData"
    ),
    "AWS::CloudWatch::CompositeAlarm": "AlarmName AlarmActions AlarmDescription AlarmRule",
    "AWS::CloudWatch::Dashboard": "DashboardName DashboardBody",
}


@dataclass(frozen=True)
class FunctionSpec:
    """One Lambda function, with everything that its processes need to start."""

    logical_id: str
    name: str
    handler: str
    code_folder: Path
    layer_folders: tuple[Path, ...]
    timeout_seconds: int
    memory_mb: int
    environment: dict[str, str]
    reserved_concurrency: int | None = None
    log_format: str = "Text"
    log_group: str = ""


@dataclass(frozen=True)
class Route:
    """One route of the HTTP API; `path` is as in the template ("/tenants/{id}", "$default"), `method` may be ANY."""

    method: str
    path: str
    function_id: str
    rate: float | None = None
    burst: int | None = None

    @property
    def key(self) -> str:
        """Return the route key as API Gateway writes it: "POST /webhooks/stripe" or "$default"."""
        return self.path if self.path == "$default" else f"{self.method} {self.path}"


@dataclass(frozen=True)
class QueueMapping:
    """One event source mapping from a queue to a function."""

    function_id: str
    queue_url: str
    queue_name: str
    batch_size: int
    window_seconds: int
    reports_item_failures: bool
    maximum_concurrency: int | None = None


@dataclass(frozen=True)
class Schedule:
    """One schedule of a function: `rate(1 minute)` or `cron(…)`, in UTC."""

    function_id: str
    name: str
    expression: str
    enabled: bool
    input: str | None = None


@dataclass(frozen=True)
class Stack:
    """Everything that the template asks for, resolved for this machine."""

    functions: dict[str, FunctionSpec]
    routes: tuple[Route, ...]
    mappings: tuple[QueueMapping, ...]
    schedules: tuple[Schedule, ...]
    queues: dict[str, str]
    dead_letter_of: dict[str, tuple[str, int]]
    alarms: dict[str, dict[str, Any]]  # their properties, by logical id
    composite_alarms: dict[str, dict[str, Any]]
    dashboards: dict[str, dict[str, Any]]  # what each shows, by logical id


def load_stack(template: Path, parameters: Mapping[str, str], endpoint: str) -> Stack:
    """Return everything that the template asks for; its queues exist at the moto endpoint afterwards.

    Paths of code are relative to the template, so `.aws-sam/build/template.yaml` gives the built artefacts.
    Parameters that the template does not declare are left out.
    """
    source = read_template(template)
    values = parameter_values(source, parameters)
    cloud = MotoCloudFormation(endpoint, values)
    document = cloud.without_conditions(expand(source, values))
    return _StackReader(document, cloud, template.parent).stack()


class _StackReader:
    """Turns a CloudFormation template whose references are plain values into our own words."""

    def __init__(self, document: Mapping[str, Any], cloud: MotoCloudFormation, folder: Path) -> None:
        self._types = {logical_id: resource["Type"] for logical_id, resource in document["Resources"].items()}
        self._folder = folder
        wanted = {
            logical_id: _without_roles(resource.get("Properties", {}), _READ[resource["Type"]].split())
            for logical_id, resource in document["Resources"].items()
            if resource["Type"] in _READ
        }
        queues = [logical_id for logical_id, type_ in self._types.items() if type_ == "AWS::SQS::Queue"]
        addresses = {
            f"{logical_id} (queue)": {
                "url": {"Ref": logical_id},
                "arn": {"Fn::GetAtt": [logical_id, "Arn"]},
                "redrive": document["Resources"][logical_id].get("Properties", {}).get("RedrivePolicy"),
            }
            for logical_id in queues
        }
        resolved = cloud.resolve(document, {**wanted, **addresses})
        self._properties = {logical_id: resolved[logical_id] for logical_id in wanted}
        self._queues = {logical_id: resolved[f"{logical_id} (queue)"] for logical_id in queues}
        self._url_of = {queue["arn"]: queue["url"] for queue in self._queues.values()}
        self._function_of = {
            properties.get("FunctionName", _default_name(logical_id)): logical_id
            for logical_id, properties in self._all("AWS::Lambda::Function")
        }

    def stack(self) -> Stack:
        """Return the whole stack."""
        return Stack(
            functions={spec.logical_id: spec for spec in self._functions()},
            routes=tuple(self._routes()),
            mappings=tuple(self._mappings()),
            schedules=tuple(self._schedules()),
            queues={logical_id: queue["url"] for logical_id, queue in self._queues.items()},
            dead_letter_of=dict(self._dead_letters()),
            alarms=dict(self._all("AWS::CloudWatch::Alarm")),
            composite_alarms=dict(self._all("AWS::CloudWatch::CompositeAlarm")),
            dashboards={
                logical_id: json.loads(properties["DashboardBody"])
                for logical_id, properties in self._all("AWS::CloudWatch::Dashboard")
            },
        )

    def _functions(self) -> Iterator[FunctionSpec]:
        for logical_id, properties in self._all("AWS::Lambda::Function"):
            if not str(properties.get("Runtime", "")).startswith("python"):
                raise TemplateError(f"{logical_id}: the local stack runs Python functions only")
            logging = properties.get("LoggingConfig", {})
            name = properties.get("FunctionName", _default_name(logical_id))
            yield FunctionSpec(
                logical_id=logical_id,
                name=name,
                handler=properties["Handler"],
                code_folder=self._code_folder(logical_id, properties["Code"]),
                layer_folders=tuple(self._layer_folder(logical_id, arn) for arn in properties.get("Layers", [])),
                timeout_seconds=_number(logical_id, properties, "Timeout", 3),
                memory_mb=_number(logical_id, properties, "MemorySize", 128),
                environment={
                    key: _text(value) for key, value in properties.get("Environment", {}).get("Variables", {}).items()
                },
                reserved_concurrency=_number_or_none(logical_id, properties, "ReservedConcurrentExecutions"),
                log_format=logging.get("LogFormat", "Text"),
                log_group=logging.get("LogGroup", f"/aws/lambda/{name}"),
            )

    def _code_folder(self, logical_id: str, code: Mapping[str, Any]) -> Path:
        path = local_code_folder(code)
        if path is None:
            raise TemplateError(f"{logical_id}: its code is not in a folder of this machine")
        folder = (self._folder / path).resolve()
        if not folder.is_dir():
            raise TemplateError(f"{logical_id}: its code folder {path} does not exist")
        return folder

    def _layer_folder(self, logical_id: str, arn: str) -> Path:
        """Return what a layer adds to the path: its `python` folder when it is built, else its source folder."""
        layer_id = arn.split(":")[-2]
        if self._types.get(layer_id) != "AWS::Lambda::LayerVersion":
            raise TemplateError(f"{logical_id}: its layer {arn} is not in the template")
        folder = self._code_folder(layer_id, self._properties[layer_id]["Content"])
        return folder / "python" if (folder / "python").is_dir() else folder

    def _routes(self) -> Iterator[Route]:
        for api_id, properties in self._all("AWS::ApiGatewayV2::Api"):
            integrations = dict(_integrations_of_body(properties.get("Body", {})))
            for route_id, route in self._all("AWS::ApiGatewayV2::Route"):
                if route["ApiId"] == api_id:
                    target = str(route.get("Target", "")).removeprefix("integrations/")
                    integration = self._properties.get(target)
                    if integration is None:
                        raise TemplateError(f"{route_id}: its integration is not in the template")
                    integrations[route["RouteKey"]] = {
                        "uri": integration.get("IntegrationUri", ""),
                        "payloadFormatVersion": integration.get("PayloadFormatVersion"),
                    }
            throttles = self._throttles(api_id, integrations)
            for key, integration in integrations.items():
                method, _, path = key.rpartition(" ")
                rate, burst = throttles(key)
                function_id = self._function_behind(f"route {key!r}", integration)
                yield Route(method=method or "ANY", path=path, function_id=function_id, rate=rate, burst=burst)

    def _function_behind(self, owner: str, integration: Mapping[str, Any]) -> str:
        if integration.get("payloadFormatVersion") != "2.0":
            raise TemplateError(f"{owner}: the local stack speaks payload format 2.0 only")
        found = re.search(r"(arn:aws:lambda:[^/]+)", integration["uri"])
        return self._function(owner, found[1] if found else integration["uri"])

    def _throttles(self, api_id: str, routes: Mapping[str, Any]) -> "_Throttles":
        for stage_id, stage in self._all("AWS::ApiGatewayV2::Stage"):
            if stage["ApiId"] == api_id:
                settings = stage.get("RouteSettings", {})
                for key in settings:
                    if key not in routes:
                        raise TemplateError(f"{stage_id}: RouteSettings name {key!r}, which is not a route of the API")
                return _Throttles(stage_id, stage.get("DefaultRouteSettings", {}), settings)
        return _Throttles(api_id, {}, {})

    def _mappings(self) -> Iterator[QueueMapping]:
        for logical_id, properties in self._all("AWS::Lambda::EventSourceMapping"):
            if _text(properties.get("Enabled", True)) == "false":
                continue
            arn = properties.get("EventSourceArn", "")
            if arn not in self._url_of:
                raise TemplateError(f"{logical_id}: its source {arn} is not a queue of the template")
            if "FilterCriteria" in properties:
                raise TemplateError(f"{logical_id}: the local stack does not filter messages")
            yield QueueMapping(
                function_id=self._function(logical_id, properties["FunctionName"]),
                queue_url=self._url_of[arn],
                queue_name=arn.rpartition(":")[2],
                batch_size=_number(logical_id, properties, "BatchSize", 10),
                window_seconds=_number(logical_id, properties, "MaximumBatchingWindowInSeconds", 0),
                reports_item_failures="ReportBatchItemFailures" in properties.get("FunctionResponseTypes", []),
                maximum_concurrency=_number_or_none(
                    logical_id, properties.get("ScalingConfig", {}), "MaximumConcurrency"
                ),
            )

    def _schedules(self) -> Iterator[Schedule]:
        for logical_id, properties in self._all("AWS::Events::Rule", "AWS::Scheduler::Schedule"):
            if "ScheduleExpression" not in properties:
                continue  # a rule for events of AWS itself; none happen here
            if properties.get("ScheduleExpressionTimezone", "UTC") != "UTC":
                raise TemplateError(f"{logical_id}: the local stack runs schedules in UTC only")
            for target in properties.get("Targets", [properties.get("Target", {})]):
                yield Schedule(
                    function_id=self._function(logical_id, target.get("Arn", "")),
                    name=logical_id,
                    expression=properties["ScheduleExpression"],
                    enabled=properties.get("State", "ENABLED") != "DISABLED",
                    input=target.get("Input"),
                )

    def _dead_letters(self) -> Iterator[tuple[str, tuple[str, int]]]:
        for logical_id, queue in self._queues.items():
            if redrive := queue["redrive"]:
                arn = redrive["deadLetterTargetArn"]
                if arn not in self._url_of:
                    raise TemplateError(f"{logical_id}: its dead-letter queue {arn} is not in the template")
                yield queue["url"], (self._url_of[arn], _number(logical_id, redrive, "maxReceiveCount", 10))

    def _function(self, owner: str, reference: str) -> str:
        """Return the logical id of the function that a name or an ARN, with or without an alias, means."""
        name = reference.split(":")[6] if reference.startswith("arn:aws:lambda:") else reference.split(":")[0]
        if name not in self._function_of:
            raise TemplateError(f"{owner}: the function {reference or '(none)'} is not in the template")
        return self._function_of[name]

    def _all(self, *types: str) -> list[tuple[str, dict[str, Any]]]:
        return [
            (logical_id, self._properties[logical_id]) for logical_id in self._types if self._types[logical_id] in types
        ]


class _Throttles:
    """The throttle of each route: its own setting, else the stage's default."""

    def __init__(self, owner: str, default: Mapping[str, Any], by_route: Mapping[str, Mapping[str, Any]]) -> None:
        self._owner, self._default, self._by_route = owner, default, by_route

    def __call__(self, route_key: str) -> tuple[float | None, int | None]:
        """Return (requests a second, burst) of this route; None where nothing limits it."""
        settings = {**self._default, **self._by_route.get(route_key, {})}
        try:
            rate = float(settings["ThrottlingRateLimit"]) if "ThrottlingRateLimit" in settings else None
        except ValueError as error:
            raise TemplateError(f"{self._owner}: ThrottlingRateLimit of {route_key!r} is not a number") from error
        return rate, _number_or_none(self._owner, settings, "ThrottlingBurstLimit")


def _integrations_of_body(body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (route key, integration) of the OpenAPI document that SAM writes for an HTTP API."""
    for path, methods in body.get("paths", {}).items():
        for method, operation in methods.items():
            integration = operation.get("x-amazon-apigateway-integration", {}) if isinstance(operation, dict) else {}
            if integration:
                word = "ANY" if method == _ANY_METHOD else method.upper()
                yield (path if path == "$default" else f"{word} {path}"), integration


def _without_roles(properties: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """Return the named properties; of targets only what is invoked and with what, of an API's body only its paths."""
    kept = {name: properties[name] for name in names if name in properties}
    if "Targets" in kept:
        kept["Targets"] = [_without_roles(target, ["Arn", "Input"]) for target in kept["Targets"]]
    if "Target" in kept and isinstance(kept["Target"], dict) and "Arn" in kept["Target"]:
        kept["Target"] = _without_roles(kept["Target"], ["Arn", "Input"])
    if "Body" in kept:
        kept["Body"] = _without_roles(kept["Body"], ["paths"])
    return kept


def _default_name(logical_id: str) -> str:
    return f"{STACK_NAME}-{logical_id}"


def _text(value: Any) -> str:
    """Return a value as CloudFormation writes it into a string property."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(owner: str, properties: Mapping[str, Any], name: str, default: int) -> int:
    found = _number_or_none(owner, properties, name)
    return default if found is None else found


def _number_or_none(owner: str, properties: Mapping[str, Any], name: str) -> int | None:
    value = properties.get(name)
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError) as error:
        raise TemplateError(f"{owner}: {name} is {value!r}, not a whole number") from error
