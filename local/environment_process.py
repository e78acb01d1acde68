"""Becomes one Lambda execution environment: tied to its runner for life, it runs AWS's own runtime client.

    python environment_process.py RUNNER_PID HANDLER      (started by local/lambda_environment.py)

It is run by its path, so that nothing of `local` can be imported by the function.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def become_environment(runner_pid: int, handler: str) -> None:
    """Run the handler for ever, but never longer than the runner lives."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != runner_pid:  # it was gone before we asked to hear of it
        sys.exit(1)
    sys.path[0] = os.environ["LAMBDA_TASK_ROOT"]  # in the place of this file's folder
    from awslambdaric.__main__ import main  # type: ignore[import-untyped]  # it ships no types

    main(["bootstrap", handler])


if __name__ == "__main__":
    become_environment(int(sys.argv[1]), sys.argv[2])
