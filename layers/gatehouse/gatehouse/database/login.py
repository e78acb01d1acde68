"""One connection to a server: reached, encrypted, logged in. The only importer of pg8000.

pg8000 logs in; every statement then goes through `flush.py`, as pg8000's own `run` is unsafe behind a pooler. We lean
on two private names of its core connection (`_usock`, `_sock`): the version is pinned, and tests watch the wire.
"""

import os
import select
import socket
import ssl
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from pg8000.core import CoreConnection  # type: ignore[import-untyped]  # pg8000 ships no types
from pg8000.exceptions import DatabaseError, InterfaceError  # type: ignore[import-untyped]  # as above
from scramp import ScramException  # type: ignore[import-untyped]  # pg8000 lets it through

from gatehouse import errors
from gatehouse.database.errors import error_class, refusal
from gatehouse.database.flush import HungUp, Reply, exchange, exchange_script
from gatehouse.database.sql import Bound, unnamed
from gatehouse.tls import trusting


@dataclass(frozen=True)
class Address:
    """Where a database is and who asks; the password never shows."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)


def parse_address(address: str) -> Address:
    """Read a postgres:// address; its options (sslmode, pgbouncer, …) are ignored, so none can switch TLS off."""
    try:
        parts = urlsplit(address)
        port = parts.port or 5432
    except ValueError:
        # Not chained: the reason would quote a piece of the password.
        raise errors.SettingError(
            "the database address is unreadable: special characters in its password must be percent-encoded"
        ) from None
    if parts.scheme not in ("postgres", "postgresql") or not parts.hostname or not parts.username:
        raise errors.SettingError("the database address must look like postgresql://user:password@host:5432/database")
    user = unquote(parts.username)
    return Address(parts.hostname, port, unquote(parts.path[1:]) or user, user, unquote(parts.password or ""))


class LoggedIn:
    """A connection that has logged in; what `flush.py` calls a wire."""

    def __init__(self, core: CoreConnection, answer_seconds: float) -> None:
        self._socket: socket.socket = core._usock
        self._stream = core._sock  # pg8000's buffer over the socket
        self._stream_is_empty = False  # what it read ahead at login may be in there
        self._answer_seconds = answer_seconds
        self._deadline = 0.0
        self.cancel_key = bytes(core._backend_key_data or b"")  # who shows it may stop what the server does for us
        self._process = os.getpid()
        self._readable = select.poll()
        self._readable.register(self._socket, select.POLLIN)
        self.is_busy = False
        self.sync_sent = False

    def exchange(self, bounds: Sequence[Bound]) -> Reply:
        """Send statements and read their answers; `is_busy` stays set unless all of them were read."""
        self.sync_sent = False
        self._deadline = time.monotonic() + self._answer_seconds
        reply = exchange(self, bounds)
        self.is_busy = False
        return reply

    def run_script(self, script: str) -> Reply:
        """Send SQL text by the simple protocol; see `flush.exchange_script`."""
        self._deadline = time.monotonic() + self._answer_seconds
        reply = exchange_script(self, script)
        self.is_busy = False
        return reply

    def allow(self, seconds: float) -> None:
        """Begin a conversation of the caller's own, by `send` and `receive`; all of it may take so long."""
        self._deadline = time.monotonic() + seconds

    def send(self, data: bytes, *, ends_with_sync: bool) -> None:
        """Hand all of the data to the network."""
        self.is_busy = True
        self._limit_time()
        self._socket.sendall(data)
        self.sync_sent = ends_with_sync

    def receive(self) -> bytes:
        """Return what has arrived, at least one byte; none at all means that the server hung up."""
        self._limit_time()
        if self._stream_is_empty:
            return self._socket.recv(65536)
        self._stream_is_empty = True
        return bytes(self._stream.read1(65536))

    def is_quiet(self) -> bool:
        """Tell, without a round trip, whether the connection may be used.

        A healthy server says nothing between two flushes. Something to read is its farewell, its hang-up, or a stray
        message: in each case a new connection is cheaper than finding out. One made before a fork is the parent's.
        """
        return self._process == os.getpid() and not self._readable.poll(0)

    def say_goodbye(self) -> None:
        """Tell the server that no more will come, so that it does not log a lost client."""
        if self._process == os.getpid():
            with suppress(OSError):  # it may be gone first
                self._socket.sendall(b"X\0\0\0\4")

    def drop(self) -> None:
        """Close the socket."""
        with suppress(OSError):  # a broken socket may complain while it is closed, and is closed nevertheless
            self._socket.close()
            self._stream.close()

    def _limit_time(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)


def log_in(
    address: Address,
    *,
    deadline: float,
    answer_seconds: float,
    tls_context: ssl.SSLContext | None,
    application: str,
    options: str = "",
) -> LoggedIn:
    """Reach the server, check who it is, and log in; raise ConnectionError that says what went wrong."""
    place = f"{address.host}:{address.port}"
    link: socket.socket | None = None
    try:
        link = _reach(address, deadline)
        if tls_context:
            link = _encrypt(link, tls_context, address)
        link.settimeout(max(deadline - time.monotonic(), 0.001))
        return LoggedIn(_log_in_by_pg8000(link, address, application, options), answer_seconds)
    except TimeoutError as reason:
        _close(link)
        raise errors.ConnectionError(f"{place} did not answer in time: {_plain(reason)}") from None
    except OSError as reason:
        _close(link)
        raise errors.ConnectionError(f"{place} cannot be reached: {_plain(reason)}") from None
    except (InterfaceError, DatabaseError, ScramException, LookupError, ValueError, struct.error) as reason:
        _close(link)
        raise _login_refused(place, reason) from None


def cancel(address: Address, key: bytes, *, seconds: float, tls_context: ssl.SSLContext | None) -> None:
    """Ask the server to stop what it does for the connection with this key; it promises nothing, and says nothing."""
    with suppress(OSError):
        link = _reach(address, time.monotonic() + seconds)
        try:
            link.settimeout(seconds)
            if tls_context:
                link = _encrypt(link, tls_context, address)
            link.sendall(struct.pack("!ii", 8 + len(key), 80877102) + key)  # CancelRequest
            link.recv(1)  # it hangs up when it has passed the request on
        finally:
            link.close()


def _reach(address: Address, deadline: float) -> socket.socket:
    """Connect to the first of the host's addresses that answers; each gets its share of the time."""
    places = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    last: OSError = TimeoutError("no address answered")
    for tried, (family, kind, protocol, _, place) in enumerate(places):
        link = socket.socket(family, kind, protocol)
        try:
            link.settimeout(max((deadline - time.monotonic()) / (len(places) - tried), 0.001))
            link.connect(place)
            # Nagle's algorithm holds back the end of a body over 8 KiB until the server acknowledges: 44 ms.
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # While a long statement runs, probes keep the way open and tell us of a server that vanished.
            link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
            return link
        except OSError as reason:
            link.close()
            last = reason
    raise last


def authorities(root_file: str) -> ssl.SSLContext:
    """Return what checks a server's certificate and name: by the system's authorities, or by those of one file."""
    try:
        return trusting(root_file)
    except OSError as reason:
        raise errors.SettingError(f"the file of TLS authorities, {root_file}, is unusable: {_plain(reason)}") from None


def _encrypt(link: socket.socket, tls_context: ssl.SSLContext, address: Address) -> socket.socket:
    """Switch to TLS with the certificate and its name checked; a server that offers none is refused."""
    link.sendall(struct.pack("!ii", 8, 80877103))  # SSLRequest
    if link.recv(1) != b"S":
        raise OSError("it offers no TLS")
    return tls_context.wrap_socket(link, server_hostname=address.host)


def _log_in_by_pg8000(link: socket.socket, address: Address, application: str, options: str) -> CoreConnection:
    return CoreConnection(
        address.user,
        host=address.host,
        port=address.port,
        database=address.database,
        password=address.password,
        application_name=application,
        # Our decoders count on these two. Every pooler tracks them for each client, unlike other settings.
        startup_params={"client_encoding": "UTF8", "DateStyle": "ISO", **({"options": options} if options else {})},
        ssl_context=False,  # TLS is there already, if wanted
        sock=link,
    )


def _login_refused(place: str, reason: BaseException) -> errors.ConnectionError:
    # Closing after a refusal may fail in pg8000 and hide the refusal behind "network error".
    for known in (reason, reason.__context__):
        if isinstance(known, DatabaseError) and known.args and isinstance(known.args[0], dict):
            fields = known.args[0]
            return errors.ConnectionError(
                f"{place} refused the login: {fields.get('M')} ({fields.get('C')})", sqlstate=fields.get("C")
            )
        if isinstance(known, TimeoutError):
            return errors.ConnectionError(f"{place} did not answer in time")
    if isinstance(reason, InterfaceError | ScramException):
        return errors.ConnectionError(f"{place} broke off the login: {reason}")
    return errors.ConnectionError(f"{place} does not talk like Postgres ({type(reason).__name__})")


def _close(link: socket.socket | None) -> None:
    if link:
        link.close()


def broken(reason: OSError, name: str) -> errors.DatabaseError:
    """Return our error for a connection that broke, or stayed silent, while statements were under way."""
    if isinstance(reason, HungUp) and reason.fields:
        return refusal({**reason.fields, "C": _connection_sqlstate(reason.fields)}, unnamed(name))
    # An errno means that the network gave up; without one it is our own deadline.
    if isinstance(reason, TimeoutError) and reason.errno is None:
        return errors.TimeoutError(f"{name}: the database did not answer in time", statement=name)
    return errors.ConnectionError(f"{name}: {_plain(reason)}", statement=name)


def _connection_sqlstate(fields: dict[str, str]) -> str:
    """Return the SQLSTATE of a farewell, or 08006 where it is none that speaks of the connection."""
    sqlstate = fields.get("C", "")
    return sqlstate if issubclass(error_class(sqlstate), errors.ConnectionError) else "08006"


def _plain(reason: BaseException) -> str:
    return getattr(reason, "verify_message", "") or getattr(reason, "strerror", "") or str(reason)
