"""One session on the direct address, which keeps its settings and locks to itself; for migrations."""

import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from gatehouse.database.errors import refusal, script_refusal
from gatehouse.database.flush import Row
from gatehouse.database.login import LoggedIn, authorities, broken, log_in, parse_address
from gatehouse.database.sql import Bound

LONGEST_STEP_SECONDS = 7 * 24 * 3600  # building an index on a large table takes hours; nothing else ends it


class DirectSession:
    """One session that keeps its settings and locks to itself; for migrations, and never on a pooled address."""

    def __init__(self, connection: LoggedIn) -> None:
        self._connection = connection

    def __enter__(self) -> "DirectSession":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, script: str) -> None:
        """Run SQL text as it is; its rows are not kept. BEGIN and COMMIT are the caller's."""
        with _broken_told("script"):
            reply = self._connection.run_script(script)
        if reply.error:
            raise script_refusal(reply.error)

    def query(self, bound: Bound) -> list[Row]:
        """Run one statement with its parameters and return its rows."""
        with _broken_told(bound.statement.name):
            reply = self._connection.exchange([bound])
        if reply.error:
            raise refusal(reply.error, bound.statement)
        return reply.results[0].rows

    def close(self) -> None:
        """End the session; the server undoes an open transaction and gives up its locks."""
        self._connection.say_goodbye()
        self._connection.drop()


def connect_direct(
    address: str,
    *,
    application: str,
    options: Mapping[str, str],
    connect_milliseconds: int,
    tls: Literal["verify", "off"] | str,
    tls_root_file: str = "",
    tls_context: ssl.SSLContext | None = None,
) -> DirectSession:
    """Open one session with startup options, such as {"statement_timeout": "0"}; their values hold no spaces."""
    return DirectSession(
        log_in(
            parse_address(address),
            deadline=time.monotonic() + connect_milliseconds / 1000,
            answer_seconds=LONGEST_STEP_SECONDS,
            tls_context=(tls_context or authorities(tls_root_file)) if tls != "off" else None,
            application=application,
            options=" ".join(f"-c {name}={value}" for name, value in options.items()),
        )
    )


@contextmanager
def _broken_told(name: str) -> Iterator[None]:
    """Turn what a broken connection raises into our error."""
    try:
        yield
    except OSError as reason:
        raise broken(reason, name) from None
