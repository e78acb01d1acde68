"""Child processes that never outlive their parent, not even one that was killed with -9.

    process = start(["pgbouncer", "pgbouncer.ini"], user="nobody")

Linux sends a child its death signal when the *thread* that started it ends, so `start` is for the main thread.
"""

import ctypes
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1  # from linux/prctl.h
CHECKOUT = Path(__file__).resolve().parent.parent


def start(
    command: Sequence[str | Path],
    *,
    user: str | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start a command that gets a signal when this process dies, as another user where one is named."""
    # Not preexec_fn: code between fork and exec is not safe beside threads. A small Python of its own asks for the
    # death signal, changes the user (which would clear the signal if it came after) and becomes the command.
    launcher = [sys.executable, "-m", "local.child_process", str(os.getpid()), str(int(death_signal)), user or ""]
    return subprocess.Popen(
        [*launcher, *map(str, command)],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in the terminal is for the runner, which ends its children in order
    )


def end(process: subprocess.Popen[bytes], *, patience_seconds: float = 3) -> None:
    """Ask a child to end, insist after a while, and wait until it is gone."""
    process.terminate()
    try:
        process.wait(patience_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def become(parent: int, death_signal: int, user: str, command: list[str]) -> None:
    """Turn this process into the command, tied to its parent."""
    if user:
        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal) != 0:
        raise OSError(ctypes.get_errno(), "prctl refused the death signal")
    if os.getppid() != parent:  # it died while we were starting, so no signal will come
        sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
