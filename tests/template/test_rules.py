"""template.yaml keeps every rule of rules.py, and each rule notices when it is broken."""

import copy
from typing import Any

import pytest

from tests.template import rules
from tests.template.expansion import expand, our_source, our_template
from tests.template.rules import RULES, Rule

GONE = object()

# (rule, what is changed in our template, to what, what the rule must say)
BROKEN: list[tuple[Rule, str, Any, str]] = [
    (
        rules.visibility_is_six_timeouts,
        "Resources/EnrichmentQueue/Properties/VisibilityTimeout",
        359,
        "EnrichmentQueue: visibility 359 s is below 360 s for InvoiceEnricherFunction",
    ),
    (
        rules.visibility_is_six_timeouts,
        "Resources/InvoiceEnricherMapping/Properties/MaximumBatchingWindowInSeconds",
        5,
        "is below 365 s",
    ),
    (
        rules.visibility_is_six_timeouts,
        "Resources/InvoiceEnricherFunction/Properties/Timeout",
        61,
        "is below 366 s",
    ),
    (
        rules.every_queue_has_dead_letters,
        "Resources/InboxQueue/Properties/RedrivePolicy",
        GONE,
        "InboxQueue has no dead-letter queue",
    ),
    (
        rules.dead_letters_outlive_their_queue,
        "Resources/EnrichmentDeadLetterQueue/Properties/MessageRetentionPeriod",
        345600,
        "EnrichmentDeadLetterQueue keeps 345600 s",
    ),
    (
        rules.dead_letters_outlive_their_queue,
        "Resources/InboxDeadLetterQueue/Properties/MessageRetentionPeriod",
        GONE,
        "InboxDeadLetterQueue keeps 345600 s",
    ),
    (
        rules.queues_are_encrypted,
        "Resources/InboxQueue/Properties/SqsManagedSseEnabled",
        False,
        "InboxQueue is not encrypted",
    ),
    (
        rules.batches_report_items,
        "Resources/InboxReplayerMapping/Properties/FunctionResponseTypes",
        GONE,
        "InboxReplayerFunction takes batches from InboxQueue",
    ),
    (
        rules.no_wildcard_without_reason,
        "Resources/JobSweeperFunction/Properties/Policies/0/Statement/0/Resource",
        "*",
        "JobSweeperFunction: Resource '*' is a wildcard",
    ),
    (
        rules.no_wildcard_without_reason,
        "Resources/JobSweeperFunction/Properties/Policies/0/Statement/1/Action",
        "sqs:*",
        "JobSweeperFunction: Action 'sqs:*' is a wildcard",
    ),
    (
        rules.no_wildcard_without_reason,
        "Resources/JobSweeperFunction/Properties/Policies/0",
        {"SQSSendMessagePolicy": {"QueueName": "q"}},
        "'sqs:SendMessage*' is a wildcard",
    ),
    (
        rules.no_managed_policies,
        "Resources/JobSweeperFunction/Properties/Policies/0",
        "AmazonSQSFullAccess",
        "AmazonSQSFullAccess is a managed policy",
    ),
    (
        rules.no_managed_policies,
        "Resources/InvoiceEnricherFunction/Properties/Events",
        {"Queue": {"Type": "SQS", "Properties": {"Queue": {"Fn::GetAtt": ["EnrichmentQueue", "Arn"]}}}},
        "AWSLambdaSQSQueueExecutionRole is a managed policy",
    ),
    (
        rules.rights_are_used,
        "Resources/HealthFunction/Properties/Policies/0/Statement/0/Resource",
        [{"Ref": "IntakeDatabaseSecretArn"}, {"Ref": "StripeSecretArn"}],
        "HealthFunction may read StripeSecretArn and does not name it",
    ),
    (
        rules.rights_are_used,
        "Resources/StripeWebhookFunction/Properties/Policies/0/Statement/0/Resource",
        [{"Ref": "IntakeDatabaseSecretArn"}, {"Ref": "StripeSecretArn"}],
        "StripeWebhookFunction names DataKeysSecretArn and may not read it",
    ),
    (
        rules.rights_are_used,
        "Resources/StripeWebhookFunction/Properties/Environment/Variables/INBOX_QUEUE_URL",
        GONE,
        "StripeWebhookFunction may send to InboxQueue and does not name it",
    ),
    (
        rules.rights_to_an_optional_secret_are_optional,
        "Resources/PaypalWebhookFunction/Properties/Policies/0/Statement/0/Resource/2",
        {"Ref": "PaypalSecretArn"},
        "PaypalWebhookFunction: a right to PaypalSecretArn, which may be empty",
    ),
    (
        rules.rights_to_an_optional_secret_are_optional,
        "Resources/PaypalWebhookFunction/Properties/Policies/0/Statement/0/Resource/2/Fn::If/0",
        "HasPaystack",
        "PaypalWebhookFunction: HasPaystack does not say whether PaypalSecretArn is given",
    ),
    (
        rules.rights_to_an_optional_secret_are_optional,
        "Conditions/HasPaypal",
        {"Fn::Equals": [{"Ref": "PaypalSecretArn"}, ""]},
        "PaypalWebhookFunction: HasPaypal does not say whether",
    ),
    (
        rules.rights_are_used,
        "Resources/PaypalWebhookFunction/Properties/Policies/0/Statement/0/Resource/2/Fn::If",
        ["HasStripe", {"Ref": "StripeSecretArn"}, {"Ref": "AWS::NoValue"}],
        "PaypalWebhookFunction may read StripeSecretArn and does not name it",
    ),
    (
        rules.only_the_migrator_is_owner,
        "Resources/HealthFunction/Properties/Environment/Variables/DATABASE_SECRET_ARN",
        {"Ref": "OwnerDatabaseSecretArn"},
        "HealthFunction runs as the owner of the database",
    ),
    (
        rules.no_secret_in_environment,
        "Resources/HealthFunction/Properties/Environment/Variables/HEALTH_TOKEN",
        "open sesame",
        "HealthFunction: HEALTH_TOKEN looks like a secret",
    ),
    (
        rules.no_secret_in_environment,
        "Globals/Function/Environment/Variables/UPSTREAM",
        "postgresql://gatehouse:hunter2@db.example.com/gatehouse",
        "UPSTREAM looks like a secret",
    ),
    (
        rules.no_secret_in_environment,
        "Resources/HealthFunction/Properties/Environment/Variables/MODE",
        "{{resolve:secretsmanager:gatehouse/stripe:SecretString:api_key}}",
        "MODE looks like a secret",
    ),
    (
        rules.no_secret_in_environment,
        "Parameters/StripeApiUrl/NoEcho",
        True,
        "STRIPE_API_URL looks like a secret",
    ),
    (
        rules.no_reserved_variable,
        "Resources/HealthFunction/Properties/Environment/Variables/AWS_REGION",
        "eu-west-1",
        "HealthFunction: AWS_REGION is reserved by Lambda",
    ),
    (
        rules.no_setting_of_the_local_stage,
        "Resources/PaypalWebhookFunction/Properties/Environment/Variables/PAYPAL_CERTIFICATE_HOST",
        "certificates.example.com",
        "PaypalWebhookFunction: PAYPAL_CERTIFICATE_HOST is for the local stage only",
    ),
    (
        rules.no_setting_of_the_local_stage,
        "Globals/Function/Environment/Variables/AWS_ENDPOINT_URL_SQS",
        "https://sqs.example.com",
        "AWS_ENDPOINT_URL_SQS is for the local stage only",
    ),
    (
        rules.logs_are_kept_for_a_set_time,
        "Resources/HealthLogGroup/Properties/RetentionInDays",
        GONE,
        "HealthLogGroup has no retention",
    ),
    (
        rules.logs_are_kept_for_a_set_time,
        "Resources/HealthFunction/Properties/LoggingConfig",
        GONE,
        "HealthFunction has no log group of ours",
    ),
    (
        rules.logs_are_kept_for_a_set_time,
        "Resources/HttpApi/Properties/AccessLogSettings",
        GONE,
        "has no access log group of ours",
    ),
    (
        rules.access_logs_hide_paths,
        "Resources/HttpApi/Properties/AccessLogSettings/Format",
        '{"requestId":"$context.requestId","path":"$context.path"}',
        "logs what the caller sent",
    ),
    (
        rules.access_logs_hide_paths,
        "Resources/HttpApi/Properties/AccessLogSettings/Format",
        '{"requestId":"$context.requestId"}',
        "logs no routeKey",
    ),
    (
        rules.snapstart_has_an_alias,
        "Resources/AnalyticsApiFunction/Properties/AutoPublishAlias",
        GONE,
        "AnalyticsApiFunction has SnapStart and no alias",
    ),
    (
        rules.snapstart_without_provisioned_concurrency,
        "Resources/StripeWebhookFunction/Properties/ProvisionedConcurrencyConfig",
        {"ProvisionedConcurrentExecutions": 1},
        "StripeWebhookFunction has SnapStart and provisioned concurrency",
    ),
    (
        rules.connections_fit_the_pool,
        "Resources/HealthFunction/Properties/ReservedConcurrentExecutions",
        GONE,
        "HealthFunction has a database and no bound",
    ),
    (
        rules.connections_fit_the_pool,
        "Parameters/StripeWebhookConcurrency/Default",
        200,
        "the pool has 90",
    ),
    (
        rules.webhooks_are_throttled,
        "Resources/HttpApi/Properties/RouteSettings/POST ~1webhooks~1stripe",
        GONE,
        "POST /webhooks/stripe is not throttled",
    ),
    (
        rules.webhooks_are_throttled,
        "Resources/HttpApi/Properties/RouteSettings/POST ~1webhooks~1mx_merchant~1{account}~1{token}",
        GONE,
        "POST /webhooks/mx_merchant/{account}/{token} is not throttled",
    ),
    (
        rules.webhooks_are_throttled,
        "Resources/HttpApi/Properties/RouteSettings/POST ~1api~1paystack~1webhook",
        {"ThrottlingBurstLimit": 1},
        "POST /api/paystack/webhook is not throttled",
    ),
    (
        rules.webhooks_are_throttled,
        "Resources/HttpApi/Properties/RouteSettings/GET ~1nowhere",
        {"ThrottlingRateLimit": 1, "ThrottlingBurstLimit": 1},
        "limits GET /nowhere, which is no route",
    ),
]


@pytest.mark.req("O3", "G11", "P11", "D5")
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_our_template_keeps_the_rule(rule: Rule) -> None:
    assert rule(our_template()) == []


@pytest.mark.parametrize(("rule", "path", "value", "complaint"), BROKEN, ids=lambda each: getattr(each, "__name__", ""))
def test_the_rule_notices(rule: Rule, path: str, value: Any, complaint: str) -> None:
    found = rule(expand(changed(path, value)))
    assert any(complaint in each for each in found), found


def test_every_rule_is_broken_once() -> None:
    assert {rule for rule, *_ in BROKEN} == set(RULES)


def test_a_written_reason_allows_a_wildcard() -> None:
    source = changed("Resources/JobSweeperFunction/Properties/Policies/0/Statement/0/Resource", "*")
    source["Resources"]["JobSweeperFunction"]["Metadata"] = {
        "Gatehouse": {"WildcardReason": "The API knows no resource."}
    }
    assert rules.no_wildcard_without_reason(expand(source)) == []


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return a copy of our template with one place changed or removed; `~1` stands for a slash inside a key."""
    source = copy.deepcopy(our_source())
    *parents, last = [each.replace("~1", "/") for each in path.split("/")]
    place: Any = source
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
    key_or_index: Any = int(last) if isinstance(place, list) else last
    if value is GONE:
        del place[key_or_index]
    else:
        place[key_or_index] = value
    return source
