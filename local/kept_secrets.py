"""What this machine invents once and keeps in `.local`: passwords and keys (secrets.json), ports (ports.json)."""

import base64
import json
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from local.postgres import free_port
from local.stack_file import write_private


class KeptSecrets:
    """Passwords and keys by name, each made when it is first asked for; only the owner can read the file."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "secrets.json"
        self.was_new = not self._file.exists()
        self._values: dict[str, str] = {} if self.was_new else json.loads(self._file.read_text())

    def password(self, name: str) -> str:
        """Return the password of this name, which needs no quoting anywhere."""
        return self._kept(name, lambda: secrets.token_hex(16))

    def token(self, name: str, prefix: str) -> str:
        """Return a token that looks like those of a gateway."""
        return self._kept(name, lambda: prefix + secrets.token_hex(16))

    def key(self, name: str) -> str:
        """Return a key of 32 random bytes in base64."""
        return self._kept(name, lambda: base64.b64encode(secrets.token_bytes(32)).decode())

    def made(self, name: str, make: Callable[[], str]) -> str:
        """Return a secret of a form that somebody else knows, made by `make` the first time."""
        return self._kept(name, make)

    def forget(self) -> None:
        """Remove the file with all that was invented."""
        self._file.unlink(missing_ok=True)
        self._values.clear()

    def _kept(self, name: str, make: Callable[[], str]) -> str:
        if name not in self._values:
            self._values[name] = make()
            write_private(self._file, self._values)
        return self._values[name]


class KeptPorts:
    """The ports of the stack, so that a restart keeps its addresses where they are still free."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "ports.json"
        self._ports: dict[str, int] = json.loads(self._file.read_text()) if self._file.exists() else {}

    def port(self, name: str) -> int:
        """Return the port of this name, or a new one where somebody else has taken it."""
        if not is_free(self._ports.get(name, 0)):
            self._ports[name] = free_port()
            write_private(self._file, self._ports)
        return self._ports[name]


def is_free(port: int) -> bool:
    """Tell whether nobody listens on this port of 127.0.0.1."""
    if port == 0:
        return False
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # what a closed server leaves behind is no hindrance
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
