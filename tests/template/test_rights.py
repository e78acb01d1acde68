"""Every right of every role, with the reason for it: a new one is put down here, or it is a mistake."""

import pytest

from tests.template import rules
from tests.template.expansion import our_template

WEBHOOKS = {f"{name}WebhookFunction" for name in ("Stripe", "Paypal", "Paystack", "Sayswitch", "MxMerchant")}
CONSUMERS = {
    *("InvoiceEnricherFunction", "EventForwarderFunction", "InboxReplayerFunction", "BackupWriterFunction"),
    *("ReconcilerFunction", "TenantProvisionerFunction"),
}
RINGERS = {"AnalyticsApiFunction", "ConsoleFunction", "JobSweeperFunction", "RedriverFunction", "TenantsApiFunction"}
QUIET = {"HealthFunction", "MigratorFunction", "TotalsKeeperFunction"}

# action -> (why, who)
RIGHTS: dict[str, tuple[str, set[str]]] = {
    "secretsmanager:GetSecretValue": (
        "each reads the password of its own database role, and the keys that it needs",
        WEBHOOKS | CONSUMERS | RINGERS | QUIET,
    ),
    "sqs:SendMessage": (
        "they ring for jobs, put requests into the inbox, and tell dead-letter queues of burials",
        WEBHOOKS | CONSUMERS | RINGERS,
    ),
    "sqs:ReceiveMessage": ("Lambda polls the queue in the name of the function", CONSUMERS),
    "sqs:DeleteMessage": ("likewise: what is done leaves the queue", CONSUMERS),
    "sqs:GetQueueAttributes": (
        "likewise: Lambda scales by the queue's depth; the console shows it",
        CONSUMERS | {"ConsoleFunction"},
    ),
    "sqs:ChangeMessageVisibility": ("what could not be done comes back sooner, or later", CONSUMERS),
    "cloudwatch:DescribeAlarms": (
        "Slack shows alarms, and one that rings stops a rollout",
        {"SlackRole", "RolloutRole"},
    ),
    "lambda:GetAlias": ("CodeDeploy sees which version of a webhook is live", {"RolloutRole"}),
    "lambda:UpdateAlias": ("CodeDeploy gives a new version its share of the requests", {"RolloutRole"}),
    "lambda:GetProvisionedConcurrencyConfig": ("CodeDeploy looks whether it must wait for some", {"RolloutRole"}),
    "cloudwatch:GetMetricData": ("the Slack channel shows graphs", {"SlackRole"}),
    "cloudwatch:GetMetricWidgetImage": ("the Slack channel shows graphs", {"SlackRole"}),
}


@pytest.mark.req("O3")
def test_each_role_may_do_what_is_put_down_here_and_nothing_else() -> None:
    granted: dict[str, set[str]] = {}
    for owner, statement in rules._statements(our_template()):
        assert statement["Effect"] == "Allow"
        for action in rules._texts(statement["Action"]):
            granted.setdefault(action, set()).add(owner)
    assert granted == {action: who for action, (_why, who) in RIGHTS.items()}


@pytest.mark.req("O3")
def test_every_function_is_in_one_group() -> None:
    groups = (WEBHOOKS, CONSUMERS, RINGERS, QUIET)
    assert set().union(*groups) == set(our_template().of_type("AWS::Lambda::Function"))
    assert sum(len(group) for group in groups) == len(set().union(*groups))
