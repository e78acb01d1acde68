"""What the local stack makes of a template, by SAM's own translator and moto's CloudFormation."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from local.moto_server import MotoServer
from local.postgres import free_port
from local.template import QueueMapping, Route, Schedule, Stack, TemplateError, load_stack

PROJECT = Path(__file__).parents[2]
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:database"

pytestmark = pytest.mark.req("O2", "D4")

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  Stage: {Type: String, AllowedValues: [local, prod]}
  DatabaseSecretArn: {Type: String, AllowedPattern: "arn:aws:.+"}
  Rate: {Type: Number, Default: 50}
Conditions:
  IsProduction: !Equals [!Ref Stage, prod]
  IsLocal: !Not [!Condition IsProduction]
Globals:
  Function:
    Runtime: python3.13
    CodeUri: code/
    Layers: [!Ref SharedLayer]
    Environment: {Variables: {STAGE: !Ref Stage}}
Resources:
  SharedLayer:
    Type: AWS::Serverless::LayerVersion
    Metadata: {BuildMethod: makefile}
    Properties: {ContentUri: layer/, CompatibleRuntimes: [python3.13]}
  Api:
    Type: AWS::Serverless::HttpApi
    Properties:
      DefaultRouteSettings: {ThrottlingRateLimit: !Ref Rate, ThrottlingBurstLimit: 100}
      RouteSettings: {"POST /hooks/{token}": {ThrottlingBurstLimit: 7}}
  Hook:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: !Sub ${AWS::StackName}-hook
      Handler: hook.handler
      AutoPublishAlias: live
      SnapStart: {ApplyOn: PublishedVersions}
      MemorySize: !If [IsProduction, 1024, 256]
      ReservedConcurrentExecutions: !If [IsProduction, 20, !Ref AWS::NoValue]
      LoggingConfig: {LogFormat: JSON, LogGroup: !Ref HookLogs}
      Environment:
        Variables:
          SECRET: !Ref DatabaseSecretArn
          QUEUE_URL: !Ref Work
          QUEUE_NAME: !GetAtt Work.QueueName
          TOPIC: !Ref Topic
          WORKER: !GetAtt Worker.Arn
          BOTH: !Sub "${Work.Arn}|${Worker}|${Stage}|${AWS::Region}"
          ENABLED: true
          NUMBER: 5
          ONLY_IN_PRODUCTION: !If [IsProduction, "1", !Ref AWS::NoValue]
      Events:
        Post: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: post, Path: "/hooks/{token}"}}
        Any: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: ANY, Path: "/all/{proxy+}"}}
        Rest: {Type: HttpApi, Properties: {ApiId: !Ref Api}}
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      Handler: worker.handler
      Timeout: 20
      Events:
        FromQueue:
          Type: SQS
          Properties:
            Queue: !GetAtt Work.Arn
            BatchSize: 5
            MaximumBatchingWindowInSeconds: 1
            FunctionResponseTypes: [ReportBatchItemFailures]
            ScalingConfig: {MaximumConcurrency: 2}
        EveryMinute: {Type: Schedule, Properties: {Schedule: rate(1 minute), Input: '{"a": 1}', Enabled: false}}
        Nightly: {Type: ScheduleV2, Properties: {ScheduleExpression: "cron(0 3 * * ? *)"}}
  OnlyInProduction:
    Type: AWS::Serverless::Function
    Condition: IsProduction
    Properties: {Handler: worker.handler}
  HookLogs: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: !Sub "/aws/${AWS::StackName}", RetentionInDays: 3}}
  Topic: {Type: AWS::SNS::Topic}
  Work:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 120
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: !If [IsLocal, 3, 10]}
  Dead: {Type: AWS::SQS::Queue}
Outputs:
  Url: {Value: !GetAtt Api.ApiEndpoint}
"""

Load = Callable[..., Stack]


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    """A server for these tests alone: they empty it."""
    server = MotoServer(free_port())
    server.launch()
    server.wait_until_ready()
    yield server
    server.stop()


@pytest.fixture
def load(moto: MotoServer, tmp_path: Path) -> Load:
    """Return a function that writes a template (here with `old` replaced by `new`) beside its code, and loads it."""
    httpx.post(f"{moto.endpoint}/moto-api/reset").raise_for_status()  # as after a start
    (tmp_path / "code").mkdir()
    (tmp_path / "layer").mkdir()

    def changed(old: str = "", new: str = "", **parameters: str) -> Stack:
        assert old in TEMPLATE
        template = tmp_path / "template.yaml"
        template.write_text(TEMPLATE.replace(old, new) if old else TEMPLATE)
        return load_stack(template, {"Stage": "local", "DatabaseSecretArn": SECRET, **parameters}, moto.endpoint)

    return changed


def test_functions_come_with_everything_resolved(load: Load, moto: MotoServer, tmp_path: Path) -> None:
    stack = load(NotInTheTemplate="is left out")
    hook = stack.functions["Hook"]
    name = stack.queues["Work"].rpartition("/")[2]
    assert stack.queues["Work"].startswith(f"{moto.endpoint}/123456789012/")
    worker = "arn:aws:lambda:us-east-1:123456789012:function:gatehouse-local-Worker"
    assert hook.environment == {
        "STAGE": "local",
        "SECRET": SECRET,
        "QUEUE_URL": stack.queues["Work"],
        "QUEUE_NAME": name,
        "TOPIC": hook.environment["TOPIC"],
        "WORKER": worker,
        "BOTH": f"arn:aws:sqs:us-east-1:123456789012:{name}|gatehouse-local-Worker|local|us-east-1",
        "ENABLED": "true",
        "NUMBER": "5",
    }
    assert hook.environment["TOPIC"].startswith("arn:aws:sns:")
    assert (hook.name, hook.handler, hook.memory_mb, hook.timeout_seconds) == (
        "gatehouse-local-hook",
        "hook.handler",
        256,
        3,
    )
    assert (hook.reserved_concurrency, hook.log_format, hook.log_group) == (None, "JSON", "/aws/gatehouse-local")
    assert (hook.code_folder, hook.layer_folders) == (tmp_path / "code", (tmp_path / "layer",))
    assert (stack.functions["Worker"].timeout_seconds, stack.functions["Worker"].log_format) == (20, "Text")
    assert set(stack.functions) == {"Hook", "Worker"}


def test_the_stage_decides_conditions(load: Load) -> None:
    stack = load(Stage="prod")
    hook = stack.functions["Hook"]
    assert (hook.memory_mb, hook.reserved_concurrency, hook.environment["ONLY_IN_PRODUCTION"]) == (1024, 20, "1")
    assert "OnlyInProduction" in stack.functions


def test_routes_carry_their_throttles(load: Load) -> None:
    assert set(load(Rate="9").routes) == {
        Route("POST", "/hooks/{token}", "Hook", rate=9.0, burst=7),
        Route("ANY", "/all/{proxy+}", "Hook", rate=9.0, burst=100),
        Route("ANY", "$default", "Hook", rate=9.0, burst=100),
    }


def test_queues_mappings_and_schedules(load: Load) -> None:
    stack = load()
    url = stack.queues["Work"]
    assert stack.mappings == (
        QueueMapping(
            function_id="Worker",
            queue_url=url,
            queue_name=url.rpartition("/")[2],
            batch_size=5,
            window_seconds=1,
            reports_item_failures=True,
            maximum_concurrency=2,
        ),
    )
    assert stack.dead_letter_of == {url: (stack.queues["Dead"], 3)}
    assert set(stack.schedules) == {
        Schedule("Worker", "WorkerEveryMinute", "rate(1 minute)", enabled=False, input='{"a": 1}'),
        Schedule("Worker", "WorkerNightly", "cron(0 3 * * ? *)", enabled=True),
    }


def test_loading_again_finds_the_same_queues(load: Load) -> None:
    assert load().queues == load().queues


def test_a_built_layer_is_its_python_folder(load: Load, tmp_path: Path) -> None:
    (tmp_path / "layer" / "python").mkdir()
    assert load().functions["Hook"].layer_folders == (tmp_path / "layer" / "python",)


def test_our_own_template_loads(moto: MotoServer) -> None:
    names = ("Intake", "Worker", "Owner", "Api", "Ops")
    parameters = {f"{name}DatabaseSecretArn": SECRET for name in names} | {"Stage": "local"}
    parameters |= dict.fromkeys(("DataKeysSecretArn", "StripeSecretArn"), SECRET)
    stack = load_stack(PROJECT / "template.yaml", parameters, moto.endpoint)
    assert "POST /webhooks/stripe" in {route.key for route in stack.routes}
    assert {mapping.queue_url for mapping in stack.mappings} == set(stack.dead_letter_of)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Handler: hook.handler", "Handler: hook: handler", "template.yaml line 30: mapping values are not allowed"),
        ("SnapStart:", "SnapShot:", "SAM refuses the template: .*Hook.*SnapShot"),
        ("Method: post", "Methods: post", "SAM refuses the template: .*Hook.*Post.*Method"),
        ("IsProduction, 1024", "IsNothing, 1024", "condition IsNothing, which is not in the template"),
        ("QUEUE_URL: !Ref Work", "QUEUE_URL: !Ref Wrok", "Resources.Hook refers to Wrok, which is not in the template"),
        ("Work.QueueName", "Work.Nam", "CloudFormation refuses the template: .* Nam "),
        ("CodeUri: code/", "CodeUri: nowhere/", "its code folder nowhere/ does not exist"),
        ("ContentUri: layer/", "ContentUri: nowhere/", "SharedLayer.*: its code folder nowhere/ does not exist"),
        ("CodeUri: code/", "CodeUri: s3://bucket/key", "its code is not in a folder of this machine"),
        ("BatchSize: 5", "BatchSize: many", "SAM refuses the template: .*WorkerFromQueue.*BatchSize"),
        ("Queue: !GetAtt Work.Arn", "Queue: !Ref Topic", "WorkerFromQueue: its source arn:aws:sns:"),
        ('"POST /hooks/{token}": {', '"POST /hook": {', "RouteSettings name 'POST /hook', which is not a route"),
        ("WORKER: !GetAtt Worker.Arn", "WORKER: !GetAtt Api.ApiEndpoint", "Hook refers to Api .*does not have"),
        (
            "WORKER: !GetAtt Worker.Arn",
            "WORKER: !Ref OnlyInProduction",
            "OnlyInProduction, whose condition leaves it out",
        ),
        ("Runtime: python3.13\n", "Runtime: nodejs22.x\n", "the local stack runs Python functions only"),
        ("ENABLED: true", "ON: true", "template.yaml: the key True of .*Variables is not text: quote it"),
        ("Timeout: 20", "Timeout: !Ref Stage", "Worker: Timeout is 'local', not a whole number"),
        ("Resources:\n", "Things:\n", "it has no Resources"),
        ("Stage: {Type: String,", "Other: {Type: String}\n  Stage: {Type: String,", "parameter Other has no value"),
    ],
)
def test_an_error_is_one_line_that_names_its_place(load: Load, old: str, new: str, words: str) -> None:
    with pytest.raises(TemplateError, match=words) as error:
        load(old, new)
    assert "\n" not in str(error.value)


def test_a_mapping_to_a_function_that_is_missing(load: Load) -> None:
    orphan = """
  Orphan:
    Type: AWS::Lambda::EventSourceMapping
    Properties: {EventSourceArn: !GetAtt Work.Arn, FunctionName: somebody-elses-function}
Outputs:"""
    with pytest.raises(TemplateError, match="Orphan: the function somebody-elses-function is not in the template"):
        load("\nOutputs:", orphan)


def test_a_parameter_outside_what_it_allows(load: Load) -> None:
    with pytest.raises(TemplateError, match="parameter Stage: 'test' is not allowed"):
        load(Stage="test")
    with pytest.raises(TemplateError, match="parameter DatabaseSecretArn: 'x' is not allowed"):
        load(DatabaseSecretArn="x")


def test_a_template_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="No such file"):
        load_stack(tmp_path / "template.yaml", {}, "http://127.0.0.1:1")
