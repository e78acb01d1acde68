"""The one place where the server's words become our errors.

No parameter value gets into a message: it may be personal, and messages end in logs. So the server's DETAIL and
CONTEXT are dropped, and so is its MESSAGE where that quotes what it was given (class 22).
"""

import re
from collections.abc import Mapping

from gatehouse.database.sql import Statement
from gatehouse.errors import (
    ChangedMeanwhile,
    Conflict,
    ConnectionError,
    DatabaseError,
    DuplicateEntry,
    ForeignKeyViolation,
    IllegalStep,
    KeyReused,
    NotFound,
    NotNullViolation,
    QueryError,
    RefundTooLarge,
    TimeoutError,
    TransactionConflict,
    ValidationError,
)

# The longest matching prefix of the SQLSTATE decides.
ERROR_OF_SQLSTATE: dict[str, type[DatabaseError]] = {
    "08": ConnectionError,
    "21000": ValidationError,  # one row touched twice by one statement: the input holds it twice
    "22": ValidationError,
    "23001": ForeignKeyViolation,
    "23502": NotNullViolation,
    "23503": ForeignKeyViolation,
    "23505": DuplicateEntry,
    "23514": ValidationError,
    "25006": ConnectionError,  # read-only: we still talk to a server that was the primary before a failover
    "40001": TransactionConflict,
    "40P01": TransactionConflict,
    "53": ConnectionError,  # disk full, out of memory, too many connections: not the statement's fault
    "55P03": TransactionConflict,  # lock_timeout or NOWAIT
    "57014": TimeoutError,
    "57P0": ConnectionError,
    "58": ConnectionError,  # the server's own disk or files
    # Raised by our own functions, in words for whoever called; CONSTRAINT holds what the error's properties tell.
    "GH003": IllegalStep,
    "GH004": KeyReused,
    "GH005": ValidationError,
    "GH006": ChangedMeanwhile,
    "GH007": RefundTooLarge,
    "GH008": NotFound,
    "GH009": Conflict,
}
OUR_WORDS = frozenset(code for code in ERROR_OF_SQLSTATE if code.startswith("GH"))

CONDITIONS = {
    "22001": "the text is longer than its column",
    "22003": "the number is out of range",
    "22007": "the text is not a date or time",
    "22008": "the date or time is out of range",
    "22012": "division by zero",
    "22021": "the text holds a character that Postgres cannot store",
    "22023": "a value is not allowed here",
    "22P02": "the text does not have the form of its type",
    "22P05": "the JSON text holds a character that Postgres cannot store",
}


def refusal(fields: Mapping[str, str], statement: Statement | None) -> DatabaseError:
    """Return the error for an ErrorResponse; without a statement it came at commit."""
    sqlstate = fields.get("C", "")
    name = statement.name if statement else "commit"
    words = fields.get("M") if sqlstate in OUR_WORDS else f"{name}: {_words(fields, sqlstate, statement)}"
    return error_class(sqlstate)(
        words,
        sqlstate=sqlstate,
        constraint=fields.get("n"),
        statement=name,
    )


def script_refusal(fields: Mapping[str, str]) -> DatabaseError:
    """Return the error for an ErrorResponse to SQL text that has no name; it says where in the text."""
    sqlstate = fields.get("C", "")
    error = error_class(sqlstate)(_words(fields, sqlstate, None), sqlstate=sqlstate, constraint=fields.get("n"))
    error.position = int(fields.get("P", "0"))
    return error


def error_class(sqlstate: str) -> type[DatabaseError]:
    """Return the class of our tree for a SQLSTATE."""
    for length in (5, 4, 2):
        if found := ERROR_OF_SQLSTATE.get(sqlstate[:length]):
            return found
    return QueryError


def _words(fields: Mapping[str, str], sqlstate: str, statement: Statement | None) -> str:
    if not sqlstate.startswith("22"):
        return f"{fields.get('M', 'the server gave no reason')} ({sqlstate})"
    words = CONDITIONS.get(sqlstate, "a value was refused")
    place = re.search(r"portal parameter \$(\d+)", fields.get("W", ""))
    if place and statement and int(place[1]) <= len(statement.parameters):
        words = f"parameter {statement.parameters[int(place[1]) - 1]}: {words}"
    return f"{words} ({sqlstate})"
