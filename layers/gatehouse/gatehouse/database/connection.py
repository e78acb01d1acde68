"""The database as the rest of Gatehouse sees it.

What holds on the pooled address: no SET, no session locks, no LISTEN, no startup options. A statement time-out is
therefore a setting of the role (`ALTER ROLE … SET statement_timeout`), which every pooler respects and which costs
nothing per flush; the socket's deadline here lies a little above it and catches a server that answers nothing at all.
"""

import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from threading import RLock
from typing import Any, Literal, NamedTuple

from gatehouse import errors
from gatehouse.database.errors import refusal
from gatehouse.database.flush import Reply, Result, Row
from gatehouse.database.login import Address, LoggedIn, authorities, broken, log_in, parse_address
from gatehouse.database.sql import Bound, Statement, unnamed
from gatehouse.settings import settings

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
        self._connection: LoggedIn | None = None
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

    def flush(self, bounds: Sequence[Bound], *, idempotent: bool = False, merchant: str | None = None) -> list[Result]:
        """Run several statements in one round trip, all or none of them.

        With `merchant`, they see and change the rows of that merchant and of no other.

        `idempotent` says that running them twice leaves what running them once leaves. Then they are sent again
        when the connection breaks before the answer came; otherwise only when they cannot have been carried out.
        """
        if not bounds:
            return []
        context = [_SET_CONTEXT(merchant=merchant, event="")] if merchant else []
        with self._lock:
            if self._in_transaction:
                raise errors.QueryError("a transaction is open: use the object that transaction() gave")
            reply = self._send([*context, *bounds], idempotent=idempotent)
            if reply.status != b"I":
                self._discard()
                raise self._noted(errors.QueryError("BEGIN outside transaction() is not allowed; it was undone"))
            return reply.results[len(context) :]

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

    def ask_again(self) -> None:
        """Let the next call ask the database, however lately it failed to answer."""
        self._away_until = float("-inf")

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

    def _exchange(self, connection: "LoggedIn", bounds: Sequence[Bound]) -> Reply:
        """Send and read once; whatever goes wrong leaves a connection that is whole, or none."""
        name = bounds[0].statement.name
        try:
            reply = connection.exchange(bounds)
        except OSError as reason:
            error = self._noted(broken(reason, name))
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

    def _ready_connection(self) -> "LoggedIn":
        connection = self._connection
        if connection:
            if connection.is_quiet() and self._clock() - self._used_at < MOST_IDLE_SECONDS:
                return connection
            self.statistics.reconnects += 1
            self._discard()
        self._connection = self._connect()
        return self._connection

    def _connect(self) -> "LoggedIn":
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

    def _log_in(self) -> "LoggedIn":
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

    def _open(self, address: Address) -> "LoggedIn":
        return log_in(
            address,
            deadline=time.monotonic() + self._connect_seconds,
            answer_seconds=self._answer_seconds,
            tls_context=authorities(self._tls_root_file) if self._tls else None,
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

    def __init__(self, database: Database, connection: "LoggedIn | None") -> None:
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


# --- the database of this process -------------------------------------------------------------------------------


@cache
def database() -> Database:
    """Return the database of this process; it connects, and asks for its secret, when it is first used."""
    return _of_settings(lambda renewed: configured_address(refresh=renewed))


@cache
def ops_database() -> Database:
    """Return the database as ops see it, for a process that works for merchants and ops alike."""
    return _of_settings(_ops_address)


def _ops_address(renewed: bool) -> str:
    from gatehouse.secrets import secret

    arn = settings().ops_database_secret_arn
    if not arn:
        raise errors.SettingError("no address for the role gatehouse_ops: give OPS_DATABASE_SECRET_ARN")
    return str(secret(arn, refresh=renewed).get("pooled_url", ""))


def _of_settings(address: AddressSource) -> Database:
    chosen = settings()
    return Database(
        address,
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
