"""Does what the event asks for: everything that a function can do to the stack around it."""

import os
import signal
import sys
import threading
import time
from typing import Any

_ticks = 0


def _tick() -> None:
    global _ticks
    while True:
        _ticks += 1
        time.sleep(0.005)


threading.Thread(target=_tick, daemon=True).start()


def handler(event: dict[str, Any], context: Any) -> Any:
    match event["do"]:
        case "describe":
            return {
                "environment": dict(os.environ),
                "process": os.getpid(),
                "path": sys.path,
                "modules": sorted(sys.modules),
                "request_id": context.aws_request_id,
                "arn": context.invoked_function_arn,
                "name": context.function_name,
                "memory": context.memory_limit_in_mb,
                "remaining": context.get_remaining_time_in_millis(),
            }
        case "answer":
            return event["answer"]
        case "ticks":
            return _ticks
        case "sleep":
            time.sleep(event["seconds"])
            return os.getpid()
        case "raise":
            raise LookupError(event["words"])
        case "exit":
            print("last words", flush=True)  # noqa: T201 - a function's log is what it prints
            os._exit(event["status"])
        case "kill":
            return os.kill(os.getpid(), signal.SIGKILL)
        case "return_bytes":
            return "x" * event["bytes"]
        case "print":
            print(event["words"])  # noqa: T201 - a function's log is what it prints
            return sys.stderr.write("and this\n")
        case unknown:
            raise ValueError(unknown)
