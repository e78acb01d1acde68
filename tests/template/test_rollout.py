"""A new version of a webhook takes over step by step, and is taken back when an alarm rings."""

import pytest

from gatehouse.gateways import NAMES
from tests.template.expansion import our_template

ALARMS = {"WebhookErrorsAlarm", "WebhookTimeAlarm", "RequestsTurnedAwayAlarm", "EventsFailingAlarm"}
SLOWEST_SECONDS = 120  # an alarm that needs longer than a canary lasts takes nothing back


@pytest.mark.req("O3")
@pytest.mark.parametrize("gateway", NAMES)
def test_each_webhooks_alias_moves_as_a_canary_that_alarms_stop(gateway: str) -> None:
    name = "".join(word.title() for word in gateway.split("_")) + "WebhookFunction"
    template = our_template()
    alias = template.expanded["Resources"][f"{name}Aliaslive"]
    update = alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
    assert update["DeploymentGroupName"] == {"Ref": f"{name}DeploymentGroup"}
    group = template.of_type("AWS::CodeDeploy::DeploymentGroup")[f"{name}DeploymentGroup"]["Properties"]
    _if, at_once, otherwise = group["DeploymentConfigName"]["Fn::If"]
    assert at_once["Fn::Sub"][1] == {"ConfigName": "AllAtOnce"}
    assert otherwise["Fn::Sub"] == ["CodeDeployDefault.Lambda${ConfigName}", {"ConfigName": "Canary10Percent5Minutes"}]
    assert group["ServiceRoleArn"] == {"Fn::GetAtt": ["RolloutRole", "Arn"]}
    assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
    assert {each["Name"]["Ref"] for each in group["AlarmConfiguration"]["Alarms"]} == ALARMS


@pytest.mark.req("O3")
@pytest.mark.parametrize("alarm", sorted(ALARMS))
def test_an_alarm_that_stops_a_rollout_rings_within_two_minutes(alarm: str) -> None:
    definition = our_template().expanded["Resources"][alarm]["Properties"]
    periods = {each["MetricStat"]["Period"] for each in definition.get("Metrics", ()) if "MetricStat" in each}
    (period,) = periods or {definition["Period"]}
    needed = definition.get("DatapointsToAlarm", definition["EvaluationPeriods"])
    assert period * needed <= SLOWEST_SECONDS
    assert definition["TreatMissingData"] == "notBreaching"
