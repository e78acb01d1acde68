"""The database as the rest of Gatehouse sees it, and the only importer of pg8000.

pg8000 logs in; every statement then goes through `flush.py`, as pg8000's own `run` is unsafe behind a pooler. We lean
on two private names of its core connection (`_usock`, `_sock`): the version is pinned, and tests watch the wire.

What holds on the pooled address: no SET, no session locks, no LISTEN, no startup options. A statement time-out is
therefore a setting of the role (`ALTER ROLE … SET statement_timeout`), which every pooler respects and which costs
nothing per flush; the socket's deadline here lies a little above it and catches a server that answers nothing at all.
"""

import os
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from threading import RLock
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from pg8000.core import CoreConnection  # type: ignore[import-untyped]  # pg8000 ships no types
from pg8000.exceptions import DatabaseError, InterfaceError  # type: ignore[import-untyped]  # as above
from scramp import ScramException  # type: ignore[import-untyped]  # pg8000 lets it through

from gatehouse import errors
from gatehouse.database.errors import error_class, refusal, script_refusal
from gatehouse.database.flush import HungUp, Reply, Result, Row, exchange, exchange_script
from gatehouse.database.sql import Bound, Statement, unnamed
from gatehouse.settings import settings
from gatehouse.tls import trusting

# Firewalls and address translation in AWS forget a silent connection after 350 s and tell nobody: what is sent then
# disappears. A frozen Lambda is silent for longer than that.
MOST_IDLE_SECONDS = 300

# The server's own statement time-out should speak first: it leaves the connection whole and says what it stopped.
ANSWER_MARGIN_SECONDS = 0.25

# Wrong password: what Postgres says, and what PgBouncer says. The latter has other causes too, but asking once more
# for a secret that has not changed harms nobody.
MAY_BE_WRONG_PASSWORD = ("28P01", "28000", "08P01")
AddressSource = Callable[[bool], str]  # called with True for a newly fetched address

_BEGIN = unnamed("BEGIN")()
_COMMIT = unnamed("COMMIT")()
_ROLLBACK = unnamed("ROLLBACK")()
_SET_CONTEXT = Statement(
    "set_context",
    "Say for which merchant and event this transaction works; row-level security and the audit log read it.",
    "SELECT set_config('gatehouse.merchant', $1, true) AS merchant, set_config('gatehouse.event', $2, true) AS event",
    ("merchant", "event"),
)


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


@dataclass
class Statistics:
    """What one Database object has done so far."""

    flushes: int = 0
    statements: int = 0
    connects: int = 0
    reconnects: int = 0
    errors: int = 0
    last_error: str = ""


class Explained(NamedTuple):
    """How the server carries out a statement; the plan may quote parameter values, so it is for eyes, not for logs."""

    sql: str
    milliseconds: float
    plan: str


class Database:
    """One connection to Postgres, made when first needed and again when it was lost; one thread at a time uses it."""

    def __init__(
        self,
        address: str | AddressSource,
        *,
        connect_milliseconds: int,
        statement_milliseconds: int,
        away_seconds: float,
        tls: Literal["verify", "off"] | str,
        tls_root_file: str = "",
        application: str = "gatehouse",
        clock: Callable[[], float] = time.time,  # the wall clock, as a frozen Lambda stops the other one
    ) -> None:
        if isinstance(address, str):
            parse_address(address)  # a wrong one is told at once
        self._address: AddressSource = address if callable(address) else lambda _: address
        self._connect_seconds = connect_milliseconds / 1000
        self._answer_seconds = statement_milliseconds / 1000 + ANSWER_MARGIN_SECONDS
        self._away_seconds = away_seconds
        self._away_until = float("-inf")
        self._away_because = ""
        self._tls = tls != "off"
        self._tls_root_file = tls_root_file
        self._application = application
        self._clock = clock
        self._used_at = float("-inf")
        self._lock = RLock()
        self._connection: _Connection | None = None
        self._in_transaction = False
        self.statistics = Statistics()

    def query(self, statement: Statement | str, /, **parameters: Any) -> list[Row]:
        """Run one statement and return its rows."""
        return self.flush([_bind(statement, parameters)])[0].rows

    def query_one(self, statement: Statement | str, /, **parameters: Any) -> Row:
        """Run one statement and return its only row; raise NotFound when there is none."""
        return _only_row(_bind(statement, parameters), self.query(statement, **parameters))

    def query_many(self, statement: Statement | str, each: Sequence[dict[str, Any]], /) -> list[list[Row]]:
        """Run one statement for each set of parameters, all or none of them, and return the rows of each."""
        return [result.rows for result in self.flush([_bind(statement, parameters) for parameters in each])]

    def flush(self, bounds: Sequence[Bound], *, idempotent: bool = False) -> list[Result]:
        """Run several statements in one round trip, all or none of them.

        `idempotent` says that running them twice leaves what running them once leaves. Then they are sent again
        when the connection breaks before the answer came; otherwise only when they cannot have been carried out.
        """
        if not bounds:
            return []
        with self._lock:
            if self._in_transaction:
                raise errors.QueryError("a transaction is open: use the object that transaction() gave")
            reply = self._send(bounds, idempotent=idempotent)
            if reply.status != b"I":
                self._discard()
                raise self._noted(errors.QueryError("BEGIN outside transaction() is not allowed; it was undone"))
            return reply.results

    @contextmanager
    def transaction(self, merchant: str | None = None, event: str | None = None) -> "Iterator[Transaction]":
        """Open a transaction over several round trips; it is committed at the end, or undone by any exception."""
        with self._lock:
            if self._in_transaction:
                raise errors.QueryError("a transaction is open already, and cannot hold another")
            context = [_SET_CONTEXT(merchant=merchant or "", event=event or "")] if merchant or event else []
            self._send([_BEGIN, *context], idempotent=True)  # nothing is done yet that could be done twice
            transaction = Transaction(self, self._connection)
            self._in_transaction = True
            try:
                yield transaction
            except BaseException:
                transaction.end(commit=False)
                raise
            else:
                transaction.end(commit=True)
            finally:
                self._in_transaction = False

    def debug(self, statement: Statement | str, /, **parameters: Any) -> Explained:
        """Run one statement, undo it, and return its SQL, its time and its plan."""
        bound = _bind(statement, parameters)
        explain = Statement(
            f"explain {bound.statement.name}",
            "",
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT TEXT) {bound.statement.text}",
            bound.statement.parameters,
        )
        with self.transaction() as transaction:
            rows = transaction.flush([Bound(explain, bound.values)])[0].rows
            transaction.undo()
        lines = [row["QUERY PLAN"] for row in rows]
        spent = next((line for line in lines if line.startswith("Execution Time:")), "Execution Time: 0 ms")
        return Explained(bound.statement.text, float(spent.split()[2]), "\n".join(lines))

    def is_away(self) -> bool:
        """Tell whether the database failed to answer so lately that it is not asked again."""
        return self._clock() < self._away_until

    def close(self) -> None:
        """Say goodbye to the server; the next call connects again."""
        with self._lock:
            if self._connection:
                self._connection.say_goodbye()
                self._discard()

    # --- below the public face ---

    def _send(self, bounds: Sequence[Bound], *, idempotent: bool) -> Reply:
        connection = self._ready_connection()
        try:
            return self._exchange(connection, bounds)
        except errors.ConnectionError:
            # Without its Sync nothing was committed, so whatever did arrive was undone when the connection broke.
            if connection.sync_sent and not idempotent:
                raise
        self.statistics.reconnects += 1
        return self._exchange(self._ready_connection(), bounds)

    def _exchange(self, connection: "_Connection", bounds: Sequence[Bound]) -> Reply:
        """Send and read once; whatever goes wrong leaves a connection that is whole, or none."""
        name = bounds[0].statement.name
        try:
            reply = connection.exchange(bounds)
        except OSError as reason:
            error = self._noted(_broken(reason, name))
            if isinstance(error, errors.TimeoutError):
                # A pooler accepts connections while its server is away, and holds what we send. Waiting for that again
                # and again would cost every request the whole budget of a flush.
                self._leave_alone(error)
            raise error from None
        except (ValueError, LookupError, ArithmeticError, struct.error) as reason:
            error = errors.QueryError(f"{name}: the answer is unreadable ({type(reason).__name__})", statement=name)
            raise self._noted(error) from None
        except errors.GatehouseError as error:
            raise self._noted(error) from None
        finally:
            if connection.is_busy:
                self._discard()
        self._used_at = self._clock()
        self.statistics.flushes += 1
        self.statistics.statements += len(bounds)
        if not reply.is_last_word:
            self._discard()
        if reply.error is None:
            return reply
        done = len(reply.results)
        refused = refusal(reply.error, bounds[done].statement if done < len(bounds) else None)
        if isinstance(refused, errors.ConnectionError):
            self._discard()
        raise self._noted(refused)

    def _ready_connection(self) -> "_Connection":
        connection = self._connection
        if connection:
            if connection.is_quiet() and self._clock() - self._used_at < MOST_IDLE_SECONDS:
                return connection
            self.statistics.reconnects += 1
            self._discard()
        self._connection = self._connect()
        return self._connection

    def _connect(self) -> "_Connection":
        if self.is_away():
            raise errors.ConnectionError(f"the database is left alone for a while, as {self._away_because}")
        try:
            connection = self._log_in()
        except errors.ConnectionError as error:
            self._leave_alone(error)
            raise self._noted(error) from None
        self._used_at = self._clock()
        self.statistics.connects += 1
        return connection

    def _leave_alone(self, because: errors.DatabaseError) -> None:
        self._away_until = self._clock() + self._away_seconds
        self._away_because = str(because)

    def _log_in(self) -> "_Connection":
        address = self._fetch_address(renewed=False)
        try:
            return self._open(address)
        except errors.ConnectionError as error:
            if error.sqlstate not in MAY_BE_WRONG_PASSWORD:
                raise
            renewed = self._fetch_address(renewed=True)
            if renewed == address:
                raise
        return self._open(renewed)

    def _fetch_address(self, *, renewed: bool) -> Address:
        try:
            return parse_address(self._address(renewed))
        except errors.SettingError:
            raise
        except errors.GatehouseError as error:
            raise errors.ConnectionError(f"the database address could not be fetched: {error}") from None

    def _open(self, address: Address) -> "_Connection":
        return _open_connection(
            address,
            deadline=time.monotonic() + self._connect_seconds,
            answer_seconds=self._answer_seconds,
            tls_context=_trusting(self._tls_root_file) if self._tls else None,
            application=self._application,
        )

    def _discard(self) -> None:
        if self._connection:
            self._connection.drop()
            self._connection = None

    def _noted[Error: errors.GatehouseError](self, error: Error) -> Error:
        self.statistics.errors += 1
        self.statistics.last_error = f"{error.code}: {error}"
        return error


class Transaction:
    """An open transaction; see Database.transaction."""

    def __init__(self, database: Database, connection: "_Connection | None") -> None:
        self._database = database
        self._connection = connection
        self._undo = False

    def query(self, statement: Statement | str, /, **parameters: Any) -> list[Row]:
        """Run one statement and return its rows."""
        return self.flush([_bind(statement, parameters)])[0].rows

    def query_one(self, statement: Statement | str, /, **parameters: Any) -> Row:
        """Run one statement and return its only row; raise NotFound when there is none."""
        return _only_row(_bind(statement, parameters), self.query(statement, **parameters))

    def query_many(self, statement: Statement | str, each: Sequence[dict[str, Any]], /) -> list[list[Row]]:
        """Run one statement for each set of parameters and return the rows of each."""
        return [result.rows for result in self.flush([_bind(statement, parameters) for parameters in each])]

    def flush(self, bounds: Sequence[Bound]) -> list[Result]:
        """Run several statements in one round trip."""
        if not bounds:
            return []
        if self._connection is None or self._connection is not self._database._connection:
            raise errors.ConnectionError("the transaction is over: its connection was lost, or its block has ended")
        return self._database._exchange(self._connection, bounds).results

    def undo(self) -> None:
        """Let the end of the block undo everything instead of committing it."""
        self._undo = True

    def end(self, *, commit: bool) -> None:
        """Commit, or undo; a commit that the server turned into a rollback raises."""
        try:
            if commit and not self._undo:
                answer = self.flush([_COMMIT])[0].tag
                if answer != "COMMIT":
                    raise errors.QueryError("a statement had failed, so the transaction was undone, not committed")
            else:
                # Where the connection is gone, so is the transaction: there is nothing left to undo.
                with suppress(errors.DatabaseError):
                    self.flush([_ROLLBACK])
        finally:
            self._connection = None


def _bind(statement: Statement | str, parameters: dict[str, Any]) -> Bound:
    return (unnamed(statement) if isinstance(statement, str) else statement)(**parameters)


def _only_row(bound: Bound, rows: list[Row]) -> Row:
    name = bound.statement.name
    if not rows:
        raise errors.NotFound(f"{name}: there is no such row", statement=name)
    if len(rows) > 1:
        raise errors.QueryError(f"{name}: one row was asked for, {len(rows)} came", statement=name)
    return rows[0]


def _broken(reason: OSError, name: str) -> errors.DatabaseError:
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


# --- the socket and the login -----------------------------------------------------------------------------------


class _Connection:
    """A connection that has logged in; what `flush.py` calls a wire."""

    def __init__(self, core: CoreConnection, answer_seconds: float) -> None:
        self._socket: socket.socket = core._usock
        self._stream = core._sock  # pg8000's buffer over the socket
        self._stream_is_empty = False  # what it read ahead at login may be in there
        self._answer_seconds = answer_seconds
        self._deadline = 0.0
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


def _open_connection(
    address: Address,
    *,
    deadline: float,
    answer_seconds: float,
    tls_context: ssl.SSLContext | None,
    application: str,
    options: str = "",
) -> _Connection:
    """Reach the server, check who it is, and log in; raise ConnectionError that says what went wrong."""
    place = f"{address.host}:{address.port}"
    link: socket.socket | None = None
    try:
        link = _reach(address, deadline)
        if tls_context:
            link = _encrypt(link, tls_context, address)
        link.settimeout(max(deadline - time.monotonic(), 0.001))
        return _Connection(_log_in_by_pg8000(link, address, application, options), answer_seconds)
    except TimeoutError as reason:
        _close(link)
        raise errors.ConnectionError(f"{place} did not answer in time: {_plain(reason)}") from None
    except OSError as reason:
        _close(link)
        raise errors.ConnectionError(f"{place} cannot be reached: {_plain(reason)}") from None
    except (InterfaceError, DatabaseError, ScramException, LookupError, ValueError, struct.error) as reason:
        _close(link)
        raise _login_refused(place, reason) from None


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


def _trusting(root_file: str) -> ssl.SSLContext:
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


# --- one session on the direct address ----------------------------------------------------------------------------

LONGEST_STEP_SECONDS = 7 * 24 * 3600  # building an index on a large table takes hours; nothing else ends it


class DirectSession:
    """One session that keeps its settings and locks to itself; for migrations, and never on a pooled address."""

    def __init__(self, connection: _Connection) -> None:
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
) -> DirectSession:
    """Open one session with startup options, such as {"statement_timeout": "0"}; their values hold no spaces."""
    return DirectSession(
        _open_connection(
            parse_address(address),
            deadline=time.monotonic() + connect_milliseconds / 1000,
            answer_seconds=LONGEST_STEP_SECONDS,
            tls_context=_trusting(tls_root_file) if tls != "off" else None,
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
        raise _broken(reason, name) from None


# --- the database of this process -------------------------------------------------------------------------------


@cache
def database() -> Database:
    """Return the database of this process; it connects, and asks for its secret, when it is first used."""
    chosen = settings()
    return Database(
        lambda renewed: configured_address(refresh=renewed),
        connect_milliseconds=chosen.database_connect_milliseconds,
        statement_milliseconds=chosen.database_statement_milliseconds,
        away_seconds=chosen.database_away_seconds,
        tls=chosen.database_tls,
        tls_root_file=chosen.database_tls_root_file,
    )


def configured_address(*, direct: bool = False, refresh: bool = False) -> str:
    """Return the pooled or the direct address: from the secret, or where there is none from the settings."""
    chosen = settings()
    if chosen.database_secret_arn:
        from gatehouse.secrets import secret

        address = str(
            secret(chosen.database_secret_arn, refresh=refresh).get("direct_url" if direct else "pooled_url", "")
        )
    else:
        address = chosen.postgres_url_non_pooling if direct else chosen.postgres_url
    if not address:
        wanted = "direct_url or POSTGRES_URL_NON_POOLING" if direct else "pooled_url or POSTGRES_URL"
        raise errors.SettingError(f"no database address: give DATABASE_SECRET_ARN with {wanted}")
    return address
