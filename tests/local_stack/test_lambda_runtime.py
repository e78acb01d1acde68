"""Functions run by the real awslambdaric, one process an environment, and fail as they fail in Lambda."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local.lambda_environment import MOST_PAYLOAD_BYTES
from local.lambda_runtime import Invocation, LambdaFunction, PayloadTooLarge, Throttled
from local.template import FunctionSpec

FUNCTIONS = Path(__file__).parent / "functions"

pytestmark = pytest.mark.req("O2", "D4")


class Log:
    """The lines that functions wrote."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __call__(self, name: str, line: str) -> None:
        self.lines.append((name, line))

    def text(self) -> str:
        """Return all lines."""
        return "\n".join(line for _, line in self.lines)

    def wait_for(self, words: str) -> None:
        """Return when a line has these words; lines arrive beside the answer, not before it."""
        deadline = time.monotonic() + 5
        while words not in self.text():
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.005)


def spec(handler: str = "trouble.handler.handler", **changes: Any) -> FunctionSpec:
    """Return the spec of a function in tests/local_stack/functions."""
    given = FunctionSpec(
        logical_id="Trouble",
        name="stack-trouble",
        handler=handler,
        code_folder=FUNCTIONS,
        layer_folders=(),
        timeout_seconds=5,
        memory_mb=256,
        environment={"STAGE": "local"},
    )
    return replace(given, **changes)


type Make = Callable[..., LambdaFunction]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def make(log: Log) -> Iterator[Make]:
    """Make functions that end with the test."""
    made: list[LambdaFunction] = []

    def function(given: FunctionSpec, *, most_environments: int = 4, aws_endpoint: str = "") -> LambdaFunction:
        made.append(LambdaFunction(given, on_line=log, most_environments=most_environments, aws_endpoint=aws_endpoint))
        return made[-1]

    yield function
    for one in made:
        one.stop()


def run(function: LambdaFunction, do: str, **event: Any) -> Invocation:
    """Invoke with {"do": …}."""
    return function.invoke(json.dumps({"do": do, **event}).encode())


def test_a_function_sees_what_lambda_shows_it_and_nothing_of_the_developer(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "my-own-account")
    monkeypatch.setenv("STAGE", "something else")
    invocation = run(make(spec(), aws_endpoint="http://127.0.0.1:9"), "describe")
    seen = json.loads(invocation.payload)
    environment = seen["environment"]
    assert environment["STAGE"] == "local"
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == "stack-trouble"
    assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:9"
    assert environment["LAMBDA_TASK_ROOT"] == str(FUNCTIONS)
    assert environment["TZ"] == ":UTC"
    assert not {"AWS_PROFILE", "HOME", "PYTEST_CURRENT_TEST", "VIRTUAL_ENV"} & environment.keys()
    assert seen["path"][0] == str(FUNCTIONS)
    assert not any(name.split(".")[0] in ("local", "pytest", "boto3") for name in seen["modules"])
    assert seen["request_id"] == invocation.request_id
    assert seen["arn"] == "arn:aws:lambda:us-east-1:123456789012:function:stack-trouble"
    assert 4000 < seen["remaining"] <= 5000
    assert invocation.init_milliseconds is not None


def test_an_environment_is_reused_and_its_start_counted_once(make: Make) -> None:
    function = make(spec())
    first, second = run(function, "describe"), run(function, "describe")
    assert json.loads(first.payload)["process"] == json.loads(second.payload)["process"]
    assert (first.init_milliseconds is None, second.init_milliseconds is None) == (False, True)


def test_layers_are_on_the_path_after_the_code(make: Make, tmp_path: Path) -> None:
    (tmp_path / "shared.py").write_text("WORDS = 'from the layer'")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "app.py").write_text("import shared\ndef handler(event, context):\n    return shared.WORDS")
    function = make(spec("app.handler", code_folder=tmp_path / "code", layer_folders=(tmp_path,)))
    assert json.loads(function.invoke(b"{}").payload) == "from the layer"


def test_nothing_runs_between_two_requests(make: Make) -> None:
    function = make(spec())
    run(function, "ticks")
    before = json.loads(run(function, "ticks").payload)
    time.sleep(0.5)
    after = json.loads(run(function, "ticks").payload)
    assert after - before < 20  # a thread that went on would have counted to 100
    ran = json.loads(run(function, "sleep", seconds=0.3).payload)
    assert ran
    assert json.loads(run(function, "ticks").payload) - after > 20


def test_one_request_at_a_time_and_more_environments_under_load(make: Make) -> None:
    function = make(spec(), most_environments=3)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: run(function, "sleep", seconds=0.1), range(6)))
    processes = [json.loads(answer.payload) for answer in answers]
    assert len(set(processes)) == 3
    assert not any(answer.failed for answer in answers)
    _wait_until(lambda: {_state(process) for process in processes} == {"T"})  # after a storm all of them rest


def test_reserved_concurrency_throttles_at_once(make: Make) -> None:
    function = make(spec(reserved_concurrency=1))
    process = json.loads(run(function, "sleep", seconds=0).payload)
    _wait_until(lambda: _state(process) == "T")
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(run, function, "sleep", seconds=2)
        _wait_until(lambda: _state(process) != "T")
        with pytest.raises(Throttled):
            run(function, "ticks")
        assert not busy.done()
        assert not busy.result().failed
    with pytest.raises(Throttled):
        run(make(spec(reserved_concurrency=0)), "ticks")


def test_an_exception_is_reported_and_the_environment_lives_on(make: Make, log: Log) -> None:
    function = make(spec())
    before = json.loads(run(function, "describe").payload)["process"]
    failed = run(function, "raise", words="no such thing")
    report = json.loads(failed.payload)
    assert (failed.failed, failed.error_type, failed.error_message) == (True, "LookupError", "no such thing")
    assert report["errorType"] == "LookupError"
    assert report["requestId"] == failed.request_id
    assert any("trouble/handler.py" in line for line in report["stackTrace"])
    log.wait_for("[ERROR] LookupError: no such thing")
    assert json.loads(run(function, "describe").payload)["process"] == before


def test_a_crash_is_a_runtime_exit_error_and_the_next_request_finds_a_new_environment(make: Make, log: Log) -> None:
    function = make(spec())
    crashed = run(function, "exit", status=3)
    assert (crashed.failed, crashed.error_type) == (True, "Runtime.ExitError")
    expected = f"RequestId: {crashed.request_id} Error: Runtime exited with error: exit status 3"
    assert json.loads(crashed.payload) == {"errorType": "Runtime.ExitError", "errorMessage": expected}
    assert [line for _, line in log.lines] == ["last words", expected]
    assert "signal: killed" in run(function, "kill").error_message
    assert "without providing a reason" in run(function, "exit", status=0).error_message
    assert not run(function, "ticks").failed


def test_a_timeout_kills_the_environment(make: Make) -> None:
    function = make(spec(timeout_seconds=1))
    before = json.loads(run(function, "describe").payload)["process"]
    late = run(function, "sleep", seconds=30)
    assert late.error_type == "Sandbox.Timedout"
    assert late.error_message == f"RequestId: {late.request_id} Error: Task timed out after 1.00 seconds"
    assert 900 < late.milliseconds < 10_000
    assert not Path(f"/proc/{before}").exists()
    assert not run(function, "ticks").failed


def test_a_function_that_cannot_be_imported_says_why_each_time(make: Make, log: Log, tmp_path: Path) -> None:
    function = make(spec("broken_import.handler.handler"))
    for _ in range(2):
        failed = function.invoke(b"{}")
        assert failed.error_type == "Runtime.ImportModuleError"
        assert failed.error_message == (
            "Unable to import module 'broken_import.handler': No module named 'a_package_that_nobody_installed'"
        )
        assert json.loads(failed.payload)["stackTrace"] == []
    log.wait_for("[ERROR] Runtime.ImportModuleError: Unable to import module 'broken_import.handler'")
    assert function.invoke(b"{}").failed
    (tmp_path / "app.py").write_text("def handler(:")
    assert make(spec("app.handler", code_folder=tmp_path)).invoke(b"{}").error_type == "Runtime.UserCodeSyntaxError"
    (tmp_path / "dies.py").write_text("import os\nos._exit(9)")
    died = make(spec("dies.handler", code_folder=tmp_path)).invoke(b"{}")
    assert (died.error_type, died.error_message.endswith("exit status 9")) == ("Runtime.ExitError", True)
    assert make(spec("bare.handler.missing")).invoke(b"{}").error_type == "Runtime.HandlerNotFound"


def test_payloads_above_six_megabytes_are_refused_both_ways(make: Make) -> None:
    function = make(spec())
    with pytest.raises(PayloadTooLarge):
        function.invoke(b" " * (MOST_PAYLOAD_BYTES + 1))
    fits = run(function, "return_bytes", bytes=MOST_PAYLOAD_BYTES - 2)
    assert len(fits.payload) == MOST_PAYLOAD_BYTES
    assert run(function, "return_bytes", bytes=MOST_PAYLOAD_BYTES).error_type == "Function.ResponseSizeTooLarge"
    assert not run(function, "ticks").failed


def test_every_line_that_a_function_prints_arrives_with_its_name(make: Make, log: Log) -> None:
    run(make(spec()), "print", words="one\ntwo é")
    log.wait_for("and this")
    assert log.lines == [("stack-trouble", words) for words in ("one", "two é", "and this")]


def test_json_logging_of_the_template_reaches_the_runtime(make: Make, log: Log) -> None:
    run(make(spec(log_format="JSON")), "raise", words="no such thing")
    log.wait_for("no such thing")
    (entry,) = [json.loads(line) for _, line in log.lines]
    assert (entry["level"], entry["errorType"]) == ("ERROR", "LookupError")


def test_stop_ends_frozen_and_busy_environments(make: Make) -> None:
    function = make(spec(), most_environments=2)
    with ThreadPoolExecutor(2) as pool:
        frozen = {json.loads(one.payload) for one in pool.map(lambda _: run(function, "sleep", seconds=0.1), range(2))}
        _wait_until(lambda: {_state(process) for process in frozen} == {"T"})
        busy = pool.submit(run, function, "sleep", seconds=30)
        _wait_until(lambda: {_state(process) for process in frozen} != {"T"})
        begun = time.monotonic()
        function.stop()
        assert time.monotonic() - begun < 10  # it waits for nobody
        assert busy.result().error_type == "Runtime.ExitError"
    assert not [process for process in frozen if Path(f"/proc/{process}").exists()]
    with pytest.raises(Throttled):
        run(function, "ticks")


def test_a_runner_that_is_killed_leaves_no_process_behind() -> None:
    program = (
        "import sys, time; from tests.local_stack.test_lambda_runtime import *\n"
        "function = LambdaFunction(spec(), on_line=print, most_environments=1)\n"
        "invoke = lambda: print(run(function, 'sleep', seconds=0).payload.decode(), flush=True)\n"
        "threading.Thread(target=invoke).start()\n"
        "time.sleep(60)"
    )
    runner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert runner.stdout is not None
    with runner.stdout:
        environment = int(runner.stdout.readline())
        _wait_until(lambda: _state(environment) == "T")  # the thread that invoked is gone, its environment is not
        os.kill(runner.pid, signal.SIGKILL)
        runner.wait()
    _wait_until(lambda: _state(environment) in ("", "Z"))


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def _state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return ""


def test_many_callers_at_once_each_get_their_own_answer(make: Make) -> None:
    function = make(spec(), most_environments=3)
    wrong: list[int] = []

    def call(caller: int) -> None:
        for number in range(25):
            if json.loads(run(function, "answer", answer=[caller, number]).payload) != [caller, number]:
                wrong.append(caller)

    callers = [threading.Thread(target=call, args=(number,)) for number in range(16)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong
