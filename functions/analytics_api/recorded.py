"""What all records of the gateways have in common, as the API shows them and as it lets them be listed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Literal, Self

from fastapi import Request
from pydantic import BaseModel, Field

from gatehouse.backup.reads import find_in_backup, read_from_either
from gatehouse.backup.standing import PRIMARY, ServedBy
from gatehouse.database.connection import Database
from gatehouse.http_api.callers import Caller, desk_of
from gatehouse.http_api.fields import Moment, money
from gatehouse.http_api.health_data import as_seen
from gatehouse.http_api.pages import Filters, Page, after_moment, newest_first, page
from gatehouse.models import browse

type GatewayName = Literal["stripe", "paypal", "paystack", "sayswitch", "mx_merchant"]

AS_OF = Field(None, description="Until when the backup knows everything; null where the primary database answered.")


class RecordFilters(Filters):
    """What every list of records can be asked."""

    gateway: GatewayName | None = None
    livemode: bool | None = Field(None, description="Real money, or test mode; both when it is not given.")
    since: Moment | None = Field(None, description="First heard of at or after this time.")
    until: Moment | None = Field(None, description="First heard of before this time.")


class Record(BaseModel):
    """One record of a gateway."""

    # Which amounts there are: their columns, and those of their currencies.
    AMOUNTS: ClassVar[Mapping[str, tuple[str, str]]] = {"amount": ("amount_minor", "currency")}

    id: int
    merchant: str
    gateway: str
    account: str
    livemode: bool = Field(description="Real money; false is the gateway's test mode.")
    created_at: datetime = Field(description="When we first heard of it.")
    updated_at: datetime = Field(description="When we last heard of it.")

    @classmethod
    def of(cls, row: Mapping[str, Any], **more: Any) -> Self:
        """Return a row as the API shows it."""
        amounts = {name: money(row, *columns) for name, columns in cls.AMOUNTS.items()}
        times = {"created_at": row["first_fact_at"], "updated_at": row["last_fact_at"]}
        return cls.model_validate({**row, **times, **amounts, **more})


class Records[Item](Page[Item]):
    """Some of the records, newest first, from whichever database answers."""

    served_by: ServedBy
    as_of: datetime | None = AS_OF


def listed_from_either[Shown: Record](
    request: Request, caller: Caller, filters: RecordFilters, table: str, shown: type[Shown]
) -> Records[Shown]:
    """Return a page of a table's records, from the backup while the primary database is away."""
    desk = desk_of(request)
    answer = read_from_either(
        desk.database(),
        desk.backup(),
        lambda database: browse.list_rows(
            database,
            caller.merchant,
            table,
            **filters.wanted(),
            after=after_moment(filters),
            most=filters.limit + 1,
        ),
    )
    # The backup holds no health data, and a read could not be noted while the primary is away.
    rows = seen(request, caller, table, answer.found) if answer.served_by == PRIMARY else answer.found
    found = page(rows, filters, shown.of, newest_first)
    return Records(items=found.items, next_cursor=found.next_cursor, served_by=answer.served_by, as_of=answer.as_of)


def listed[Shown: Record](
    request: Request, caller: Caller, filters: RecordFilters, table: str, shown: type[Shown]
) -> Page[Shown]:
    """Return a page of a table's records."""
    rows = browse.list_rows(
        desk_of(request).database(),
        caller.merchant,
        table,
        **filters.wanted(),
        after=after_moment(filters),
        most=filters.limit + 1,
    )
    return page(seen(request, caller, table, rows), filters, shown.of, newest_first)


def found[Shown: Record](request: Request, caller: Caller, kind: str, row_id: int, shown: type[Shown]) -> Shown:
    """Return one record; one of another merchant is as if it were not there."""
    row = browse.find_row(desk_of(request).database(), caller.merchant, kind, row_id)
    return shown.of(*seen(request, caller, f"{kind}s", [row]))


def found_in_either[Shown: Record](
    request: Request, caller: Caller, kind: Literal["refund", "dispute"], row_id: int, shown: type[Shown]
) -> Shown:
    """Return one refund or dispute, from the backup while the primary database is away."""
    desk = desk_of(request)
    primary = desk.database()

    def read(database: Database) -> dict[str, Any]:
        if database is primary:
            return browse.find_row(database, caller.merchant, kind, row_id)
        return find_in_backup(database, caller.merchant, kind, row_id)

    answer = read_from_either(primary, desk.backup(), read)
    return shown.of(answer.found, served_by=answer.served_by, as_of=answer.as_of)


def seen(request: Request, caller: Caller, table: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows as the caller may see them: where they hold health data, the read is noted, or the data is hidden."""
    return as_seen(desk_of(request).database(), caller.merchant, caller.key_id, table, rows)
