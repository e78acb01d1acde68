"""Runs one Lambda function as AWS does: environments start as needed, and each serves one request at a time."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from local.lambda_environment import MOST_PAYLOAD_BYTES, EnvironmentEnded, LambdaEnvironment
from local.sam_expansion import REGION
from local.template import FunctionSpec

IDLE_SECONDS = 120  # environments above one end after this long without work
WAIT_SECONDS = 30  # API Gateway gives a function no longer either
STOP_SECONDS = 5


class Throttled(Exception):
    """Every environment that the function may have is busy."""


class PayloadTooLarge(Exception):
    """The event is larger than the 6 MB that Lambda takes."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """What became of one event; a failed one's payload is the error as Lambda reports it."""

    payload: bytes
    failed: bool
    error_type: str
    error_message: str
    request_id: str
    milliseconds: float
    init_milliseconds: float | None


class LambdaFunction:
    """One function of the template, ready to be invoked from any thread."""

    def __init__(
        self,
        spec: FunctionSpec,
        *,
        on_line: Callable[[str, str], None],
        most_environments: int,
        aws_endpoint: str = "",
    ) -> None:
        self.spec = spec
        self._on_line = on_line
        self._variables = _variables(spec, aws_endpoint)
        reserved = spec.reserved_concurrency
        self._limit = most_environments if reserved is None else min(most_environments, reserved)
        self._changed = threading.Condition()
        self._idle: list[tuple[float, LambdaEnvironment]] = []  # the last one used is the last in the list
        self._busy: set[LambdaEnvironment] = set()
        self._waiting = 0
        self._stopped = False

    def invoke(self, payload: bytes) -> Invocation:
        """Run the function once with this event and return what became of it.

        Throttled is raised at once when the reserved concurrency is used up. Where only this machine's limit is
        reached, the caller waits for its turn.
        """
        if len(payload) > MOST_PAYLOAD_BYTES:
            raise PayloadTooLarge(f"{len(payload)} bytes")
        request_id = str(uuid4())
        environment = self._take()
        init_milliseconds = None
        begun = time.perf_counter()
        try:
            if not environment.is_initialised:
                environment.initialise(request_id)
                init_milliseconds = (time.perf_counter() - begun) * 1000
                begun = time.perf_counter()
            answer = environment.invoke(request_id, payload)
        except EnvironmentEnded as ended:
            self._discard(environment)
            answer = ended.answer
        except BaseException:
            self._discard(environment)
            raise
        else:
            self._give_back(environment)
        return Invocation(
            payload=answer.payload,
            failed=bool(answer.error_type),
            error_type=answer.error_type,
            error_message=answer.error_message,
            request_id=request_id,
            milliseconds=(time.perf_counter() - begun) * 1000,
            init_milliseconds=init_milliseconds,
        )

    def stop(self) -> None:
        """End every environment, also frozen ones and those in the middle of a request; none starts afterwards."""
        with self._changed:
            self._stopped = True
            idle = [environment for _, environment in self._idle]
            self._idle.clear()
            for environment in self._busy:
                environment.kill()  # its caller sees that, and lets go of it
            self._changed.notify_all()
        for environment in idle:
            environment.end()
        with self._changed:
            self._changed.wait_for(lambda: not self._busy, timeout=STOP_SECONDS)

    def _take(self) -> LambdaEnvironment:
        """Return an environment for one request: an idle one, or else a new one."""
        with self._changed:
            self._wait_for_turn()
            if self._idle:
                _, environment = self._idle.pop()
            else:
                environment = LambdaEnvironment(self.spec, self._variables, self._on_line)
            self._busy.add(environment)
            if not self._waiting:
                for _, left_over in self._idle:  # one may have been left running for a caller who took another
                    left_over.freeze()
            return environment

    def _wait_for_turn(self) -> None:
        def is_free() -> bool:
            return self._stopped or bool(self._idle) or len(self._busy) < self._limit

        if not is_free():
            if self.spec.reserved_concurrency is not None and len(self._busy) >= self.spec.reserved_concurrency:
                raise Throttled(f"{self.spec.logical_id}: its {len(self._busy)} reserved executions are busy")
            self._waiting += 1
            try:
                self._changed.wait_for(is_free, timeout=WAIT_SECONDS)
            finally:
                self._waiting -= 1
        if self._stopped or not is_free():
            raise Throttled(f"{self.spec.logical_id}: {'it is stopped' if self._stopped else 'no environment is free'}")

    def _give_back(self, environment: LambdaEnvironment) -> None:
        surplus: list[LambdaEnvironment] = []
        now = time.monotonic()
        with self._changed:
            self._busy.discard(environment)
            if self._stopped:
                surplus.append(environment)
            else:
                if not self._waiting:  # else it would go on in a moment
                    environment.freeze()
                self._idle.append((now, environment))
            while len(self._idle) > 1 and now - self._idle[0][0] > IDLE_SECONDS:
                surplus.append(self._idle.pop(0)[1])
            self._changed.notify()
        for one in surplus:
            one.end()

    def _discard(self, environment: LambdaEnvironment) -> None:
        environment.end()
        with self._changed:
            self._busy.discard(environment)
            self._changed.notify_all()


def _variables(spec: FunctionSpec, aws_endpoint: str) -> dict[str, str]:
    """Return the whole environment of the function's processes: what Lambda sets, and what the template says.

    Only AWS_EXECUTION_ENV is missing: with it awslambdaric starts a thread for each event, so that it can hear signals
    while it waits. None come here, and it triples the CPU time of a bare handler.
    """
    lambda_sets = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_SESSION_TOKEN": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_LAMBDA_FUNCTION_NAME": spec.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_FORMAT": spec.log_format,
        "AWS_LAMBDA_LOG_GROUP_NAME": spec.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        "LAMBDA_TASK_ROOT": str(spec.code_folder),
        "_HANDLER": spec.handler,
        "PYTHONPATH": os.pathsep.join(map(str, (spec.code_folder, *spec.layer_folders))),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
    }
    if aws_endpoint:
        lambda_sets["AWS_ENDPOINT_URL"] = aws_endpoint
    return lambda_sets | spec.environment
