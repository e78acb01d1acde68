"""A function that is watched while it works: what it does is counted, the terminal hears of failures, and the gateway's
stand-in of events."""

import base64
import json

from local.gateway_apis import Gateway
from local.lambda_runtime import Invocation, LambdaFunction, Throttled
from local.observed_metrics import ObservedMetrics
from local.terminal import Terminal


class ObservedFunction:
    """Invokes a function for whoever asks: the front, a poller, or a schedule."""

    def __init__(
        self, function: LambdaFunction, terminal: Terminal, gateway: Gateway | None, metrics: ObservedMetrics
    ) -> None:
        self._function = function
        self._terminal = terminal
        self._metrics = metrics
        self._gateway = gateway  # the gateway whose webhook this function is
        self.spec = function.spec
        self.short_name = function.spec.handler.partition(".")[0]

    def invoke(self, payload: bytes) -> Invocation:
        """Run the function once with this event."""
        try:
            invocation = self._function.invoke(payload)
        except Throttled:
            self._metrics.throttled(self.spec.name)
            raise
        self._metrics.invoked(self.spec.name, invocation)
        if invocation.failed:
            self._terminal.function_failed(self.short_name, invocation)
        elif self._gateway is not None:
            self._tell(self._gateway, payload, invocation.payload)
        return invocation

    def _tell(self, gateway: Gateway, payload: bytes, answer: bytes) -> None:
        """Let the stand-in know what its gateway has sent us, once it was accepted as really from it."""
        if json.loads(answer).get("statusCode") != 200:
            return
        request = json.loads(payload)
        body = request.get("body", "")
        gateway.learn(base64.b64decode(body) if request.get("isBase64Encoded") else body.encode())
