"""Runs statements of a tenant's user on the tenant's database, within all limits, and tells what came of them."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gatehouse.errors import ConnectionError, StatementRefused, TenantStatementFailed
from gatehouse.tenants.conversation import Broken, Caps, Conversation, Heard, Refused, Spoken, TooLarge
from gatehouse.tenants.credentials import Credentials
from gatehouse.tenants.guard import checked
from gatehouse.tenants.links import Links
from gatehouse.tenants.names import literal

MOST_ROWS = 1000
MOST_ROWS_ASKED = 10_000
MOST_BYTES = 4 * 1024 * 1024  # Lambda takes answers of 6 MB
STATEMENT_MILLISECONDS = 10_000
LEAST_MILLISECONDS = 50
ANSWER_MARGIN_SECONDS = 0.5  # the server's own time-out should speak first
MOST_STATEMENTS = 50
# The server's own words about these name other sessions, files or settings, or help nobody who asks by HTTP.
QUERY_CANCELED = "57014"


class Query(NamedTuple):
    """One statement with its parameters."""

    text: str
    parameters: Sequence[Any] = ()


class Place(NamedTuple):
    """Where statements go: a tenant's database or one of its branches."""

    id: str
    credentials: Credentials


class Ran(NamedTuple):
    """What came of one request."""

    results: list[Heard]
    milliseconds: float
    bytes: int

    @property
    def rows(self) -> int:
        """How many rows were given back."""
        return sum(len(each.rows) for each in self.results)


def run(
    links: Links,
    place: Place,
    role: str,
    queries: Sequence[Query],
    *,
    claims: Mapping[str, Any],
    is_full: bool = False,
    seconds_left: float = 30.0,
    statement_milliseconds: int = STATEMENT_MILLISECONDS,
    most_rows: int = MOST_ROWS,
    acts_as_user: bool = False,
) -> Ran:
    """Run statements in one transaction as a role (owner, admin, developer, viewer); raise TenantStatementFailed.

    With `acts_as_user` an owner works under the role to which row-level security applies, with the claims given.
    """
    asked = [checked(each.text, role, is_full=is_full) for each in queries]
    milliseconds = min(statement_milliseconds, int((seconds_left - ANSWER_MARGIN_SECONDS) * 1000))
    if milliseconds < LEAST_MILLISECONDS:
        raise TenantStatementFailed("the caller's time is up", sqlstate=QUERY_CANCELED)
    read_only = all(each.read_only for each in asked)
    if any(each.read_only for each in asked) and not read_only:
        raise StatementRefused(
            "the storage of the plan is used up: send DELETE, TRUNCATE and DROP apart from reading", code="STORAGE_FULL"
        )
    works_as = "developer" if acts_as_user else {"admin": "owner"}.get(role, role)
    key = (place.id, works_as)
    began = time.monotonic()
    link = links.take(key, place.credentials.address(works_as), place.credentials.authority)
    limits = f"SET LOCAL statement_timeout = {milliseconds};"
    who = _who(place.credentials, claims)
    spoken = [
        Spoken(each.text, each.parameters, limits + (who if number == 0 else "")) for number, each in enumerate(queries)
    ]
    link.connection.allow(min(seconds_left, len(queries) * milliseconds / 1000 + ANSWER_MARGIN_SECONDS))
    begin = "BEGIN READ ONLY;" if read_only else "BEGIN;"
    try:
        heard = Conversation(link.connection, Caps(most_rows, MOST_BYTES)).hold(begin, spoken)
    except Refused as refused:
        _keep_or_drop(links, key, link)
        raise _told(refused, len(queries)) from None
    except TooLarge:
        link.cancel()
        raise TenantStatementFailed(
            f"one row of the result is larger than {MOST_BYTES} bytes: ask for less of it", sqlstate="54000"
        ) from None
    except TimeoutError:
        link.cancel()
        raise TenantStatementFailed("the statement took longer than it may", sqlstate=QUERY_CANCELED) from None
    except (Broken, OSError) as reason:
        link.connection.drop()
        raise ConnectionError(f"the tenant's database broke off: {type(reason).__name__}") from None
    except BaseException:
        link.cancel()
        raise
    _keep_or_drop(links, key, link)
    milliseconds_taken = (time.monotonic() - began) * 1000
    return Ran(heard, milliseconds_taken, sum(len(row) for each in heard for row in each.rows))


def answer_text(ran: Ran, *, is_array: bool) -> str:
    """Return the answer as JSON: of one statement, or of each of an array."""
    time_taken = round(ran.milliseconds, 3)
    if not is_array:
        return f'{{"success":true,{_result(ran.results[0])},"executionTime":{time_taken}}}'
    results = ",".join(f"{{{_result(each)}}}" for each in ran.results)
    return f'{{"success":true,"results":[{results}],"executionTime":{time_taken}}}'


def _result(heard: Heard) -> str:
    columns = json.dumps([{"name": name, "type": kind} for name, kind in heard.columns], ensure_ascii=False)
    truncated = "true" if heard.truncated else "false"
    return f'"data":[{",".join(heard.rows)}],"rowCount":{heard.row_count},"columns":{columns},"truncated":{truncated}'


def _who(credentials: Credentials, claims: Mapping[str, Any]) -> str:
    text, signature = credentials.signed_claims(claims)
    return f"SET LOCAL request.jwt.claims = {literal(text)};SET LOCAL request.jwt.signature = '{signature}';"


def _keep_or_drop(links: Links, key: tuple[str, str], link: Any) -> None:
    if link.connection.is_busy:
        link.connection.drop()
    else:
        links.keep(key, link)


def _told(refused: Refused, statements: int) -> TenantStatementFailed:
    """Return the server's refusal in its own words: whoever asks wrote the statement, and has to mend it."""
    fields = refused.fields
    where = f"statement {refused.number + 1}: " if statements > 1 and refused.number < statements else ""
    error = TenantStatementFailed(where + fields.get("M", "the server gave no reason"), sqlstate=fields.get("C"))
    error.position = int(fields.get("P", "0") or 0)
    return error
