"""Runs `gatehouse …` hundreds of times without importing it as often: one process has it imported, and forks for each.

What runs is `cli.main.run` in a fresh process with its own environment and standard streams, as ops start it; only the
half second of imports is taken once. `python tests/support/command_line.py` is that process: it reads a request a line
(JSON: arguments, environment, working folder, files that stand for the streams) and answers with the exit code.
"""

import atexit
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import redirect_stdout, suppress
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MOST_SECONDS = 120


def gatehouse(
    *arguments: str, environment: dict[str, str], stdin: str = "", folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run the command line with this environment and nothing of ours; return its exit code and what it said."""
    with tempfile.TemporaryDirectory(prefix="gatehouse-test-command-") as streams:
        files = {name: str(Path(streams) / name) for name in ("stdin", "stdout", "stderr")}
        Path(files["stdin"]).write_text(stdin)
        process = _forker(threading.get_ident())
        assert process.stdin
        assert process.stdout
        request = {"arguments": arguments, "environment": environment, "folder": str(folder), **files}
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        code = int(process.stdout.readline())
        said, complained = Path(files["stdout"]).read_text(), Path(files["stderr"]).read_text()
    return subprocess.CompletedProcess(arguments, code, said, complained)


@cache
def _forker(_thread: int) -> subprocess.Popen[str]:
    """Start the process that forks; each thread has its own, as it does one command after the other."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.command_line"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    """Let it see the end of its input, which is its end."""
    process.communicate()


def _serve() -> None:
    from cli.main import app, run

    with suppress(SystemExit), redirect_stdout(io.StringIO()):
        app(["--help"])  # what is imported at the first use only
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            _become(request, run)
        _child, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _become(request: dict[str, Any], run: Any) -> None:
    """Do what was asked with the streams and the environment that were given, and end."""
    code = 1
    try:
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        signal.alarm(MOST_SECONDS)  # its end, where it hangs
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY, 0o600), number)
        sys.stdin = os.fdopen(0)
        sys.argv = ["gatehouse", *request["arguments"]]
        run()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - an interpreter would show it and end with 1
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
