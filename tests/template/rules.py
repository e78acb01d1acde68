"""The rules that template.yaml keeps: each takes a template and returns what is wrong with it, in words.

Linters do not look for these. `test_rules.py` breaks every one of them on a changed copy of our template.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.template.expansion import Json, Template

type Rule = Callable[[Template], list[str]]

LONGEST_RETENTION_SECONDS = 14 * 24 * 3600
DEFAULT_RETENTION_SECONDS = 4 * 24 * 3600

# A small Neon computes 104 server connections and keeps 90 % of them for one role.
POOLED_CONNECTIONS = 90

# SAM attaches this one to every role that it makes: it writes logs, and no more.
HARMLESS_MANAGED_POLICIES = {"arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"}

ACCESS_LOG_FIELDS = ("requestId", "routeKey", "status", "integrationErrorMessage", "responseLatency", "sourceIp")

# `make run` gives these to the functions; the settings accept them, or do harm only, where STAGE is local.
LOCAL_VARIABLES = {
    *("DATABASE_TLS", "FORWARDING_ALLOWED_LOCAL", "PAYPAL_CERTIFICATE_HOST", "PAYPAL_CERTIFICATE_ROOT_FILE"),
}
LOCAL_PREFIXES = ("AWS_ENDPOINT_URL",)

SECRET_LOOKING_NAME = re.compile(r"SECRET|PASSWORD|TOKEN|KEY|CREDENTIAL|POSTGRES_URL")
SECRET_LOOKING_VALUE = re.compile(
    r"(sk|rk|pk)_(live|test)_|whsec_|-----BEGIN|://[^/]*:[^/]*@|[A-Za-z0-9+/]{32,}={0,2}$"
)


# ── Queues ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def visibility_is_six_timeouts(template: Template) -> list[str]:
    """AWS asks for 6 x the function's timeout (+ the window); less, and a message is worked on twice at once."""
    wrong = []
    for queue, function, mapping in _wirings(template):
        visibility = template.of_type("AWS::SQS::Queue")[queue]["Properties"].get("VisibilityTimeout", 30)
        timeout = _functions(template)[function].get("Timeout", 3)
        least = 6 * timeout + mapping.get("MaximumBatchingWindowInSeconds", 0)
        if visibility < least:
            wrong.append(f"{queue}: visibility {visibility} s is below {least} s for {function}")
    return wrong


def every_queue_has_dead_letters(template: Template) -> list[str]:
    """A message that always fails must end somewhere; the dead-letter queues themselves are the end."""
    targets = {target for _, target in _redrives(template)}
    sources = {source for source, _ in _redrives(template)}
    return [
        f"{queue} has no dead-letter queue" for queue in template.of_type("AWS::SQS::Queue").keys() - targets - sources
    ]


def dead_letters_outlive_their_queue(template: Template) -> list[str]:
    """The age of a message counts from its first queue, so its dead letters must be kept longer, at best 14 days."""
    wrong = []
    for source, target in _redrives(template):
        kept, kept_dead = _retention_seconds(template, source), _retention_seconds(template, target)
        if kept_dead < LONGEST_RETENTION_SECONDS and kept_dead <= kept:
            wrong.append(f"{target} keeps {kept_dead} s, its queue {source} keeps {kept} s")
    return wrong


def queues_are_encrypted(template: Template) -> list[str]:
    """Every queue is encrypted at rest."""
    queues = template.of_type("AWS::SQS::Queue").items()
    return [
        f"{name} is not encrypted"
        for name, each in queues
        if each["Properties"].get("SqsManagedSseEnabled") is not True
    ]


def batches_report_items(template: Template) -> list[str]:
    """Without ReportBatchItemFailures one bad message makes its whole batch come again."""
    return [
        f"{function} takes batches from {queue} and does not report single failures"
        for queue, function, mapping in _wirings(template)
        if mapping.get("BatchSize", 10) > 1
        and "ReportBatchItemFailures" not in mapping.get("FunctionResponseTypes", [])
    ]


# ── Rights and secrets ────────────────────────────────────────────────────────────────────────────────────────────────
def no_wildcard_without_reason(template: Template) -> list[str]:
    """A `*` in a right needs a sentence: Metadata: {Gatehouse: {WildcardReason: …}} on the resource."""
    wrong = []
    for owner, statement in _statements(template):
        metadata = template.source["Resources"].get(owner, {}).get("Metadata", {})
        if metadata.get("Gatehouse", {}).get("WildcardReason"):
            continue
        for key in ("Action", "Resource"):
            wrong += [f"{owner}: {key} {each!r} is a wildcard" for each in _texts(statement.get(key)) if "*" in each]
    return wrong


def no_managed_policies(template: Template) -> list[str]:
    """AWS's managed policies hold for all resources of the account; ours name theirs."""
    return [
        f"{name}: {policy} is a managed policy"
        for name, role in template.of_type("AWS::IAM::Role").items()
        for policy in role["Properties"].get("ManagedPolicyArns", [])
        if policy not in HARMLESS_MANAGED_POLICIES
    ]


def rights_are_used(template: Template) -> list[str]:
    """A function may read exactly the secrets that its environment names, and send only to queues that it names."""
    wrong = []
    for name, function in _functions(template).items():
        named = {each["Ref"] for each in _variables(function).values() if isinstance(each, dict) and "Ref" in each}
        secrets = {each for each in named if each.endswith("SecretArn")}
        granted = _granted(template, name, "secretsmanager:GetSecretValue")
        wrong += [f"{name} may read {each} and does not name it" for each in sorted(granted - secrets)]
        wrong += [f"{name} names {each} and may not read it" for each in sorted(secrets - granted)]
        unnamed = _granted(template, name, "sqs:SendMessage") - named
        wrong += [f"{name} may send to {each} and does not name it" for each in sorted(unnamed)]
    return wrong


def rights_to_an_optional_secret_are_optional(template: Template) -> list[str]:
    """A parameter that may be empty must not stand in a policy when it is: IAM refuses a statement about nothing."""
    optional = {name for name, each in template.source["Parameters"].items() if each.get("Default") == ""}
    wrong = []
    for owner, statement in _statements(template):
        for each in _listed(statement.get("Resource", [])):
            if each.get("Ref") in optional:
                wrong.append(f"{owner}: a right to {each['Ref']}, which may be empty")
            if "Fn::If" in each:
                condition, secret, _ = each["Fn::If"]
                is_given = {"Fn::Not": [{"Fn::Equals": [secret, ""]}]}
                if template.source["Conditions"].get(condition) != is_given:
                    wrong.append(f"{owner}: {condition} does not say whether {secret['Ref']} is given")
    return wrong


def only_the_migrator_is_owner(template: Template) -> list[str]:
    """The owner of the schema stands above row-level security: no function that the world can reach may be it."""
    return [
        f"{name} runs as the owner of the database"
        for name, function in _functions(template).items()
        if name != "MigratorFunction" and {"Ref": "OwnerDatabaseSecretArn"} in _variables(function).values()
    ]


def no_secret_in_environment(template: Template) -> list[str]:
    """Whoever may look at a function sees its environment, so that holds names of secrets and never secrets."""
    wrong = []
    for name, function in _functions(template).items():
        for variable, value in _variables(function).items():
            if isinstance(value, dict):
                parameter = template.source["Parameters"].get(value.get("Ref", ""), {})
                value = str(parameter.get("Default", "")) if not parameter.get("NoEcho") else "-----BEGIN"
            elif SECRET_LOOKING_NAME.search(variable):
                value = "-----BEGIN"
            if SECRET_LOOKING_VALUE.search(str(value)) or "{{resolve:" in str(value):
                wrong.append(f"{name}: {variable} looks like a secret")
    return wrong


def no_reserved_variable(template: Template) -> list[str]:
    """Lambda refuses a function that sets one of its own variables."""
    return [
        f"{name}: {variable} is reserved by Lambda"
        for name, function in _functions(template).items()
        for variable in _variables(function)
        if variable.startswith(("AWS_LAMBDA_", "LAMBDA_"))
        or variable
        in {"_HANDLER", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "TZ"}
    ]


def no_setting_of_the_local_stage(template: Template) -> list[str]:
    """What makes `make run` possible would let a stranger's certificate, database or cloud stand for the real one."""
    return [
        f"{name}: {variable} is for the local stage only"
        for name, function in _functions(template).items()
        for variable in _variables(function)
        if variable in LOCAL_VARIABLES or variable.startswith(LOCAL_PREFIXES)
    ]


# ── Logs ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
def logs_are_kept_for_a_set_time(template: Template) -> list[str]:
    """Each function and the API log into a group of ours; a group that Lambda makes by itself is kept for ever."""
    groups = template.of_type("AWS::Logs::LogGroup")
    wrong = [f"{name} has no retention" for name, each in groups.items() if "RetentionInDays" not in each["Properties"]]
    for name, function in _functions(template).items():
        if function.get("LoggingConfig", {}).get("LogGroup", {}).get("Ref") not in groups:
            wrong.append(f"{name} has no log group of ours")
    for name, stage in template.of_type("AWS::ApiGatewayV2::Stage").items():
        destination = stage["Properties"].get("AccessLogSettings", {}).get("DestinationArn", {})
        if destination.get("Fn::GetAtt", [""])[0] not in groups:
            wrong.append(f"{name} has no access log group of ours")
    return wrong


def access_logs_hide_paths(template: Template) -> list[str]:
    """A path may hold the token of a gateway that signs nothing: the access log has the route instead."""
    wrong = []
    for name, stage in template.of_type("AWS::ApiGatewayV2::Stage").items():
        log_format = stage["Properties"].get("AccessLogSettings", {}).get("Format", "")
        wrong += [
            f"{name} logs no {field}"
            for field in ACCESS_LOG_FIELDS
            if f'"$context.{field}"' not in _identity(log_format)
        ]
        if re.search(r"path|header|querystring", log_format, re.IGNORECASE):
            wrong.append(f"{name} logs what the caller sent")
    return wrong


# ── Functions and routes ──────────────────────────────────────────────────────────────────────────────────────────────
def snapstart_has_an_alias(template: Template) -> list[str]:
    """SnapStart works on published versions only: without an alias the API would go on calling $LATEST."""
    aliased = {alias["Properties"]["FunctionName"]["Ref"] for alias in template.of_type("AWS::Lambda::Alias").values()}
    return [
        f"{name} has SnapStart and no alias"
        for name, function in _functions(template).items()
        if function.get("SnapStart", {}).get("ApplyOn") == "PublishedVersions" and name not in aliased
    ]


def snapstart_without_provisioned_concurrency(template: Template) -> list[str]:
    """Lambda refuses both together; no linter says so."""
    return [
        f"{name} has SnapStart and provisioned concurrency"
        for name, each in template.source["Resources"].items()
        if each["Type"] == "AWS::Serverless::Function"
        and "SnapStart" in each["Properties"]
        and "ProvisionedConcurrencyConfig" in each["Properties"]
    ]


def connections_fit_the_pool(template: Template) -> list[str]:
    """Each environment holds one connection: every function with a database is bounded, and the sum fits the pooler."""
    wrong, total = [], 0
    bounds = {function: mapping.get("ScalingConfig", {}) for _, function, mapping in _wirings(template)}
    for name, function in _functions(template).items():
        if "DATABASE_SECRET_ARN" not in _variables(function):
            continue
        bound = bounds.get(name, {}).get("MaximumConcurrency", function.get("ReservedConcurrentExecutions"))
        if bound is None:
            wrong.append(f"{name} has a database and no bound on its concurrency")
        else:
            addresses = sum(each in _variables(function) for each in ("DATABASE_SECRET_ARN", "OPS_DATABASE_SECRET_ARN"))
            total += template.default_of(bound) * addresses
    if total > POOLED_CONNECTIONS:
        wrong.append(f"together the functions may hold {total} connections, the pool has {POOLED_CONNECTIONS}")
    return wrong


def webhooks_are_throttled(template: Template) -> list[str]:
    """Each route to a webhook, an alias too, has a limit of its own: one gateway's storm leaves room for the others."""
    routes = {f"{method} {path}" for method, path in routes_of(template)}
    wrong = []
    for name, stage in template.of_type("AWS::ApiGatewayV2::Stage").items():
        limits = stage["Properties"].get("RouteSettings", {})
        wrong += [f"{name} limits {each}, which is no route" for each in limits if each not in routes]
        for route in sorted(webhook_routes_of(template)):
            if not {"ThrottlingRateLimit", "ThrottlingBurstLimit"} <= set(limits.get(route, {})):
                wrong.append(f"{route} is not throttled")
    return wrong


RULES: tuple[Rule, ...] = (
    visibility_is_six_timeouts,
    every_queue_has_dead_letters,
    dead_letters_outlive_their_queue,
    queues_are_encrypted,
    batches_report_items,
    no_wildcard_without_reason,
    no_managed_policies,
    rights_are_used,
    rights_to_an_optional_secret_are_optional,
    only_the_migrator_is_owner,
    no_secret_in_environment,
    no_reserved_variable,
    no_setting_of_the_local_stage,
    logs_are_kept_for_a_set_time,
    access_logs_hide_paths,
    snapstart_has_an_alias,
    snapstart_without_provisioned_concurrency,
    connections_fit_the_pool,
    webhooks_are_throttled,
)


# ── What the rules look at ────────────────────────────────────────────────────────────────────────────────────────────
def routes_of(template: Template) -> list[tuple[str, str]]:
    """Return (method, path) of every route of the HTTP APIs."""
    return [
        (method.upper().replace("X-AMAZON-APIGATEWAY-ANY-METHOD", "ANY"), path)
        for api in template.of_type("AWS::ApiGatewayV2::Api").values()
        for path, methods in api["Properties"]["Body"]["paths"].items()
        for method in methods
    ]


def webhook_routes_of(template: Template) -> dict[str, str]:
    """Return the folder in functions/ behind every route that leads to a webhook, such as stripe_webhook."""
    folders = {name: each["Handler"].split(".")[0] for name, each in _functions(template).items()}
    found = {}
    for api in template.of_type("AWS::ApiGatewayV2::Api").values():
        for path, methods in api["Properties"]["Body"]["paths"].items():
            for method, operation in methods.items():
                uri = operation["x-amazon-apigateway-integration"]["uri"]["Fn::Sub"]
                function = re.sub(r"Alias\w+$", "", re.findall(r"\$\{(\w+)", uri)[-1])
                if folders[function].endswith("_webhook"):
                    found[f"{method.upper()} {path}"] = folders[function]
    return found


def _functions(template: Template) -> Json:
    return {name: each["Properties"] for name, each in template.of_type("AWS::Lambda::Function").items()}


def _variables(function: Json) -> Json:
    variables: Json = function.get("Environment", {}).get("Variables", {})
    return variables


def _wirings(template: Template) -> Iterator[tuple[str, str, Json]]:
    """Give (queue, function, mapping) of every event source mapping; an alias counts as its function."""
    aliases = template.of_type("AWS::Lambda::Alias")
    for each in template.of_type("AWS::Lambda::EventSourceMapping").values():
        function = each["Properties"]["FunctionName"]["Ref"]
        if function in aliases:
            function = aliases[function]["Properties"]["FunctionName"]["Ref"]
        yield each["Properties"]["EventSourceArn"]["Fn::GetAtt"][0], function, each["Properties"]


def _redrives(template: Template) -> list[tuple[str, str]]:
    queues = template.of_type("AWS::SQS::Queue").items()
    policies = [(name, each["Properties"].get("RedrivePolicy")) for name, each in queues]
    return [(name, policy["deadLetterTargetArn"]["Fn::GetAtt"][0]) for name, policy in policies if policy]


def _retention_seconds(template: Template, queue: str) -> int:
    properties = template.of_type("AWS::SQS::Queue")[queue]["Properties"]
    return int(properties.get("MessageRetentionPeriod", DEFAULT_RETENTION_SECONDS))


def _statements(template: Template) -> Iterator[tuple[str, Json]]:
    """Give every policy statement with the resource of template.yaml that it comes from."""
    for name, each in template.expanded["Resources"].items():
        owner = name if name in template.source["Resources"] else name.removesuffix("Role")
        properties = each.get("Properties", {})
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        documents += [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
        for document in documents:
            for statement in document["Statement"]:
                yield owner, statement


def _granted(template: Template, function: str, action: str) -> set[str]:
    """Return the logical ids on which `function` may do `action`."""
    granted = set()
    for owner, statement in _statements(template):
        if owner == function and action in _texts(statement["Action"]):
            granted |= {_logical_id(each) for each in _listed(statement["Resource"])}
    return granted


def _listed(resources: Any) -> list[Json]:
    """Return what a statement is about, but for plain texts."""
    return [each for each in (resources if isinstance(resources, list) else [resources]) if isinstance(each, dict)]


def _logical_id(resource: Json) -> str:
    """Return what a resource of a statement refers to; of a choice, what it refers to if it is there at all."""
    if "Fn::If" in resource:
        return _logical_id(resource["Fn::If"][1])
    return str(resource["Ref"] if "Ref" in resource else resource["Fn::GetAtt"][0])


def _texts(value: Any) -> list[str]:
    """Return every text in `value`, however deep: in Fn::Join and Fn::Sub a wildcard hides."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    return [text for each in value or [] for text in _texts(each)]


def _identity(log_format: str) -> str:
    return log_format.replace("$context.identity.", "$context.")
