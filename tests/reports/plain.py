"""What plain SQL says of the rows themselves: it shares nothing with the sums that reports are made of."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tests.support.gatehouse_database import GatehouseDatabase

IS_SALE = "p.status in ('completed', 'refunded', 'partially_refunded')"


def _where(since: datetime, until: datetime, at: str) -> str:
    return f"{at} >= '{since.isoformat()}' and {at} < '{until.isoformat()}'"


def _of(merchant: str | None, table: str) -> str:
    return "" if merchant is None else f" and {table}.merchant = '{merchant}'"


def revenue(
    database: GatehouseDatabase,
    since: datetime,
    until: datetime,
    merchant: str | None = "default",
    livemode: bool = True,
) -> dict[str, dict[str, Any]]:
    """Return by currency what came in, what went back, and the fees that are known."""
    found: dict[str, dict[str, Any]] = {}

    def note(rows: Sequence[Sequence[Any]], *names: str) -> None:
        for currency, *values in rows:
            for name, value in zip(names, values, strict=True):
                held = found.setdefault(currency, {})
                held[name] = held.get(name, 0) + int(value or 0)

    sold = f"p.merged_into is null and p.livemode = {livemode} and {IS_SALE}{_of(merchant, 'p')}"
    when = _where(since, until, "p.completed_at")
    note(
        database.sql(
            "select p.currency, count(*), sum(received_minor), count(*) filter (where fee_minor is null)"
            f" from payments p where {sold} and {when} group by 1"
        ),
        *("sales", "gross_minor", "sales_with_unknown_fee"),
    )
    note(
        database.sql(
            f"select p.fee_currency, sum(fee_minor) from payments p where {sold} and {when}"
            " and fee_minor is not null group by 1"
        ),
        "fee_minor",
    )
    made = _where(since, until, "coalesce(r.refunded_at, r.first_fact_at)")
    note(
        database.sql(
            "select r.currency, count(*), sum(amount_minor), sum(fee_minor) from refunds r"
            f" where r.status = 'completed' and r.livemode = {livemode} and {made}{_of(merchant, 'r')} group by 1"
        ),
        *("refunds", "refunded_minor", "fee_minor"),
    )
    opened = _where(since, until, "coalesce(d.opened_at, d.first_fact_at)")
    note(
        database.sql(
            "select d.currency, sum(fee_minor) from disputes d"
            f" where d.livemode = {livemode} and {opened}{_of(merchant, 'd')} group by 1"
        ),
        "fee_minor",
    )
    note(
        database.sql(
            f"""
            with totals as (
                select p.id, p.currency, p.refunded_minor - coalesce((
                    select sum(amount_minor) from refunds r
                    where r.payment_id = p.id and r.status = 'completed' and r.currency = p.currency), 0) as rest,
                    (select min(f.occurred_at) from facts f where f.kind = 'payment' and f.subject_id = p.id
                        and (f.words -> 'refunded_minor')::int > 0) as said
                from payments p where {sold}
            )
            select currency, count(*), sum(rest) from totals
            where rest > 0 and {_where(since, until, "said")} group by 1
            """
        ),
        *("refunds", "refunded_minor"),
    )
    return {currency: values for currency, values in found.items() if any(values.values())}


def attempts(
    database: GatehouseDatabase,
    since: datetime,
    until: datetime,
    merchant: str | None = "default",
    livemode: bool = True,
) -> list[list[Any]]:
    """Return gateway, currency, payments, their amount, and the average seconds of those that succeeded."""
    return database.sql(
        f"""
        select gateway, coalesce(currency, ''), count(*), coalesce(sum(amount_minor), 0)::bigint,
            count(*) filter (where {IS_SALE}), count(*) filter (where status = 'failed'),
            (avg(extract(epoch from completed_at - first_fact_at)) filter (where {IS_SALE}))::float8,
            percentile_disc(0.95) within group (order by extract(epoch from completed_at - first_fact_at)::float8)
                filter (where {IS_SALE})
        from payments p
        where merged_into is null and livemode = {livemode} and {_where(since, until, "first_fact_at")}
            {_of(merchant, "p")}
        group by 1, 2 order by 1, 2
        """
    )
