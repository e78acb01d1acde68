-- How entries follow from rows, and sums from entries.
-- migrate: up

-- A sum that stays a bigint, and needs no numeric for each of many groups.
create aggregate total_sum(bigint) (sfunc = int8pl, stype = bigint, combinefunc = int8pl, parallel = safe);

create function quarter_hour(p_at timestamptz) returns timestamptz
language sql immutable parallel safe as $$
    select date_bin('15 minutes', p_at, '2000-01-01 00:00:00+00')
$$;

-- What these rows count for, by what they say now: a row that was joined away, or is gone, counts for nothing.
create function total_entries_of(p_payments bigint[], p_refunds bigint[], p_disputes bigint[], p_orders bigint[])
returns setof total_entries language sql stable as $$
    with paid as (
        select p.*, is_sale, took_ms, quarter_hour(p.first_fact_at) as begun_in,
            case when is_sale then quarter_hour(coalesce(p.completed_at, p.first_fact_at)) end as sold_in
        from payments p
        cross join lateral (select p.status in ('completed', 'refunded', 'partially_refunded') as is_sale) as sale
        cross join lateral (
            select case when is_sale and p.completed_at is not null then
                greatest(extract(epoch from p.completed_at - p.first_fact_at) * 1000, 0)::bigint end as took_ms
        ) as took
        where p.id = any (p_payments) and p.merged_into is null
    ), said as (
        -- When it was first heard of.
        select 'payment' as source, p.id as source_id, p.begun_in as bucket, coalesce(p.currency, '') as currency,
            p.merchant, p.livemode, p.gateway, p.app, p.method,
            p.product_category,
            case when p.status = 'failed' then coalesce(p.failure_code, '') end as failure,
            case when took_ms is not null then
                ceil(ln(greatest(took_ms, 1)::float8) / ln(1.1::float8))::integer end as duration_bin,
        1::bigint as payments, nullif(p.amount_minor, 0) as amount_minor, case when is_sale then 1 end as succeeded,
        case when p.status = 'failed' then 1 end as failed, case when p.status = 'cancelled' then 1 end as cancelled,
        took_ms as duration_ms, null::bigint as sales, null::bigint as gross_minor, null::bigint as fee_minor,
        null::bigint as unknown_fees, null::bigint as unknown_fee_gross_minor, null::bigint as sales_refunded,
        null::bigint as sales_refunded_minor, null::bigint as sales_disputed, null::bigint as refunds,
        null::bigint as refund_minor, null::bigint as other_fee_minor, null::bigint as disputes,
        null::bigint as dispute_minor, null::bigint as disputes_lost, null::bigint as lost_minor,
        null::bigint as held_minor, null::bigint as orders, null::bigint as ordered_minor, null::bigint as paid_minor,
        null::bigint as returned_minor, null::bigint as tax_minor, null::bigint as order_fee_minor,
        null::bigint as discount_minor, null::bigint as quantity, null::bigint as sold_quantity,
        null::bigint as sold_minor
        from paid p
        union all
        -- When it came in.
        select 'payment', p.id, p.sold_in, coalesce(p.currency, ''), p.merchant, p.livemode, p.gateway, p.app, p.method,
            p.product_category,
            null, null,
        null, null, null, null, null, null, 1, p.received_minor, null, case when p.fee_minor is null then 1 end,
        case when p.fee_minor is null then p.received_minor end, case when p.refunded_minor > 0 then 1 end,
        nullif(p.refunded_minor, 0),
        case when exists (select from disputes d where d.payment_id = p.id and d.status <> 'warning') then 1 end,
        null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null
        from paid p where is_sale
        union all
        -- Its fee, in the currency that it is taken in.
        select 'payment', p.id, p.sold_in, p.fee_currency, p.merchant, p.livemode, p.gateway, p.app, p.method,
            p.product_category, null, null,
        null, null, null, null, null, null, null, null, p.fee_minor, null, null, null, null, null, null, null, null,
        null, null, null, null, null, null, null, null, null, null, null, null, null, null, null
        from paid p where is_sale and p.fee_minor is not null
        union all
        -- What the gateway calls refunded and no refund that we know explains, from when it first said so.
        select 'payment', p.id, quarter_hour(coalesce(first_said.at, p.last_fact_at)), coalesce(p.currency, ''),
            p.merchant, p.livemode, p.gateway, p.app, p.method,
            p.product_category, null, null,
        null, null, null, null, null, null, null, null, null, null, null, null, null, null, 1,
        p.refunded_minor - itemised.minor, null, null, null, null, null, null, null, null, null, null, null, null,
        null, null, null, null
        from paid p
        cross join lateral (
            select coalesce(sum(r.amount_minor), 0)::bigint as minor from refunds r
            where r.payment_id = p.id and r.status = 'completed' and r.currency = p.currency
        ) as itemised
        cross join lateral (
            select min(coalesce(f.occurred_at, f.received_at)) as at from facts f
            where f.kind = 'payment' and f.subject_id = p.id and (f.words ->> 'refunded_minor')::bigint > 0
        ) as first_said
        where is_sale and p.refunded_minor > itemised.minor
        union all
        select 'refund', r.id, quarter_hour(coalesce(r.refunded_at, r.first_fact_at)),
            coalesce(r.currency, p.currency, ''), r.merchant, r.livemode, r.gateway, p.app, p.method,
            p.product_category, null, null,
        null, null, null, null, null, null, null, null, null, null, null, null, null, null, 1,
        coalesce(r.amount_minor, 0), r.fee_minor, null, null, null, null, null, null, null, null, null, null, null,
        null, null, null, null
        from refunds r left join payments p on p.id = r.payment_id
        where r.id = any (p_refunds) and r.status = 'completed'
        union all
        select 'dispute', d.id, quarter_hour(coalesce(d.opened_at, d.first_fact_at)),
            coalesce(d.currency, p.currency, ''), d.merchant, d.livemode, d.gateway, p.app, p.method,
            p.product_category, null, null,
        null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, d.fee_minor,
        case when d.status <> 'warning' then 1 end, case when d.status <> 'warning' then d.amount_minor end,
        case when d.status = 'lost' then 1 end, case when d.status = 'lost' then d.amount_minor end,
        case when d.is_withdrawn then d.amount_minor end, null, null, null, null, null, null, null, null, null, null
        from disputes d left join payments p on p.id = d.payment_id
        where d.id = any (p_disputes)
    )
    select source, source_id, '', bucket, currency, merchant, livemode, gateway, coalesce(app, ''),
        coalesce(method, ''), coalesce(product_category, ''), max(failure), max(duration_bin), null, null,
        total_sum(payments), total_sum(amount_minor), total_sum(succeeded), total_sum(failed), total_sum(cancelled),
        total_sum(duration_ms), total_sum(sales), total_sum(gross_minor), total_sum(fee_minor),
        total_sum(unknown_fees), total_sum(unknown_fee_gross_minor), total_sum(sales_refunded),
        total_sum(sales_refunded_minor), total_sum(sales_disputed), total_sum(refunds), total_sum(refund_minor),
        total_sum(other_fee_minor), total_sum(disputes), total_sum(dispute_minor), total_sum(disputes_lost),
        total_sum(lost_minor), total_sum(held_minor), total_sum(orders), total_sum(ordered_minor),
        total_sum(paid_minor), total_sum(returned_minor), total_sum(tax_minor), total_sum(order_fee_minor),
        total_sum(discount_minor), total_sum(quantity), total_sum(sold_quantity), total_sum(sold_minor)
    from said
    group by source, source_id, bucket, currency, merchant, livemode, gateway, app, method, product_category
    union all
    select 'order', o.id, '', quarter_hour(o.created_at), o.currency, o.merchant, o.livemode, null, null, null, null,
        null, null, o.status, coalesce(o.event_id, ''),
        null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
        null, null, null, null, 1, o.total_minor, o.paid_minor, o.refunded_minor, o.tax_minor, o.fee_minor,
        o.discount_minor, null, null, null
    from orders o where o.id = any (p_orders)
    union all
    select 'order', o.id, i.item_type, quarter_hour(o.created_at), o.currency, o.merchant, o.livemode, null, null, null,
        null, null, null, null, coalesce(o.event_id, ''),
        null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
        null, null, null, null, 1, sum(i.total_minor), null, null, null, null, null, sum(i.quantity),
        sum(i.quantity) filter (where o.status in ('completed', 'partially_refunded')),
        sum(i.total_minor) filter (where o.status in ('completed', 'partially_refunded'))
    from orders o join order_items i on i.order_id = o.id
    where o.id = any (p_orders)
    group by o.id, i.item_type
$$;

-- What an entry counts under in a breakdown; null where it is no part of it.
create function total_value(p_entry total_entries, p_breakdown text) returns text
language sql immutable parallel safe as $$
    select case p_breakdown
        when 'gateway' then (p_entry).gateway when 'app' then (p_entry).app when 'method' then (p_entry).method
        when 'category' then (p_entry).category when 'failure' then (p_entry).failure
        when 'duration' then (p_entry).duration_bin::text when 'order' then (p_entry).order_status
        when 'item' then nullif((p_entry).part, '') end
$$;

create function total_detail(p_entry total_entries, p_breakdown text) returns text
language sql immutable parallel safe as $$
    select case
        when p_breakdown in ('failure', 'duration') then (p_entry).gateway
        when p_breakdown in ('order', 'item') then (p_entry).event_id
        else '' end
$$;

-- Which sums there are: hours only where one merchant has few of them, and of all together.
create function is_kept(p_breakdown text, p_level text, p_merchant text) returns boolean
language sql immutable parallel safe as $$
    select p_level <> 'hour' or p_breakdown = 'gateway'
        or p_merchant = '*' and p_breakdown in ('app', 'method', 'category')
$$;

create function total_bucket(p_level text, p_at timestamptz) returns timestamptz
language sql immutable parallel safe as $$
    select case p_level
        when 'hour' then date_bin('1 hour', p_at, '2000-01-01 00:00:00+00')
        when 'day' then date_bin('1 day', p_at, '2000-01-01 00:00:00+00')
        else date_trunc('month', p_at at time zone 'UTC') at time zone 'UTC' end
$$;

-- Adds entries (what they count for, or with minus signs what they did) to all sums that they belong to.
create function add_to_totals(p_entries total_entries[]) returns void
language sql as $$
    insert into totals as held (
        merchant, livemode, breakdown, level, bucket, currency, value, detail,
        payments, amount_minor, succeeded, failed, cancelled, duration_ms, sales, gross_minor, fee_minor,
        unknown_fees, unknown_fee_gross_minor, sales_refunded, sales_refunded_minor, sales_disputed, refunds,
        refund_minor, other_fee_minor, disputes, dispute_minor, disputes_lost, lost_minor, held_minor, orders,
        ordered_minor, paid_minor, returned_minor, tax_minor, order_fee_minor, discount_minor, quantity,
        sold_quantity, sold_minor
    )
    select scope, e.livemode, breakdown, level, total_bucket(level, e.bucket), e.currency, value, detail,
        total_sum(e.payments), total_sum(e.amount_minor), total_sum(e.succeeded), total_sum(e.failed),
        total_sum(e.cancelled), total_sum(e.duration_ms), total_sum(e.sales), total_sum(e.gross_minor),
        total_sum(e.fee_minor), total_sum(e.unknown_fees), total_sum(e.unknown_fee_gross_minor),
        total_sum(e.sales_refunded), total_sum(e.sales_refunded_minor), total_sum(e.sales_disputed),
        total_sum(e.refunds), total_sum(e.refund_minor), total_sum(e.other_fee_minor), total_sum(e.disputes),
        total_sum(e.dispute_minor), total_sum(e.disputes_lost), total_sum(e.lost_minor), total_sum(e.held_minor),
        total_sum(e.orders), total_sum(e.ordered_minor), total_sum(e.paid_minor), total_sum(e.returned_minor),
        total_sum(e.tax_minor), total_sum(e.order_fee_minor), total_sum(e.discount_minor), total_sum(e.quantity),
        total_sum(e.sold_quantity), total_sum(e.sold_minor)
    from unnest(p_entries) as e
    cross join lateral (values
        ('gateway', e.gateway, ''), ('app', e.app, ''), ('method', e.method, ''), ('category', e.category, ''),
        ('failure', e.failure, e.gateway), ('duration', e.duration_bin::text, e.gateway),
        ('order', e.order_status, e.event_id), ('item', nullif(e.part, ''), e.event_id)
    ) as told (breakdown, value, detail)
    cross join lateral (values (e.merchant), ('*')) as whose (scope)
    cross join (values ('hour'), ('day'), ('month')) as levels (level)
    where value is not null and is_kept(breakdown, level, scope)
    group by 1, 2, 3, 4, 5, 6, 7, 8
    order by 1, 2, 3, 4, 5, 6, 7, 8
    on conflict (merchant, livemode, breakdown, level, bucket, currency, value, detail) do update set
        payments = coalesce(held.payments, 0) + coalesce(excluded.payments, 0),
        amount_minor = coalesce(held.amount_minor, 0) + coalesce(excluded.amount_minor, 0),
        succeeded = coalesce(held.succeeded, 0) + coalesce(excluded.succeeded, 0),
        failed = coalesce(held.failed, 0) + coalesce(excluded.failed, 0),
        cancelled = coalesce(held.cancelled, 0) + coalesce(excluded.cancelled, 0),
        duration_ms = coalesce(held.duration_ms, 0) + coalesce(excluded.duration_ms, 0),
        sales = coalesce(held.sales, 0) + coalesce(excluded.sales, 0),
        gross_minor = coalesce(held.gross_minor, 0) + coalesce(excluded.gross_minor, 0),
        fee_minor = coalesce(held.fee_minor, 0) + coalesce(excluded.fee_minor, 0),
        unknown_fees = coalesce(held.unknown_fees, 0) + coalesce(excluded.unknown_fees, 0),
        unknown_fee_gross_minor =
            coalesce(held.unknown_fee_gross_minor, 0) + coalesce(excluded.unknown_fee_gross_minor, 0),
        sales_refunded = coalesce(held.sales_refunded, 0) + coalesce(excluded.sales_refunded, 0),
        sales_refunded_minor = coalesce(held.sales_refunded_minor, 0) + coalesce(excluded.sales_refunded_minor, 0),
        sales_disputed = coalesce(held.sales_disputed, 0) + coalesce(excluded.sales_disputed, 0),
        refunds = coalesce(held.refunds, 0) + coalesce(excluded.refunds, 0),
        refund_minor = coalesce(held.refund_minor, 0) + coalesce(excluded.refund_minor, 0),
        other_fee_minor = coalesce(held.other_fee_minor, 0) + coalesce(excluded.other_fee_minor, 0),
        disputes = coalesce(held.disputes, 0) + coalesce(excluded.disputes, 0),
        dispute_minor = coalesce(held.dispute_minor, 0) + coalesce(excluded.dispute_minor, 0),
        disputes_lost = coalesce(held.disputes_lost, 0) + coalesce(excluded.disputes_lost, 0),
        lost_minor = coalesce(held.lost_minor, 0) + coalesce(excluded.lost_minor, 0),
        held_minor = coalesce(held.held_minor, 0) + coalesce(excluded.held_minor, 0),
        orders = coalesce(held.orders, 0) + coalesce(excluded.orders, 0),
        ordered_minor = coalesce(held.ordered_minor, 0) + coalesce(excluded.ordered_minor, 0),
        paid_minor = coalesce(held.paid_minor, 0) + coalesce(excluded.paid_minor, 0),
        returned_minor = coalesce(held.returned_minor, 0) + coalesce(excluded.returned_minor, 0),
        tax_minor = coalesce(held.tax_minor, 0) + coalesce(excluded.tax_minor, 0),
        order_fee_minor = coalesce(held.order_fee_minor, 0) + coalesce(excluded.order_fee_minor, 0),
        discount_minor = coalesce(held.discount_minor, 0) + coalesce(excluded.discount_minor, 0),
        quantity = coalesce(held.quantity, 0) + coalesce(excluded.quantity, 0),
        sold_quantity = coalesce(held.sold_quantity, 0) + coalesce(excluded.sold_quantity, 0),
        sold_minor = coalesce(held.sold_minor, 0) + coalesce(excluded.sold_minor, 0)
$$;

-- What these rows counted for until now, with minus signs.
create function total_entries_taken_back(
    p_payments bigint[], p_refunds bigint[], p_disputes bigint[], p_orders bigint[]
) returns setof total_entries language sql stable as $$
    select e.source, e.source_id, e.part, e.bucket, e.currency, e.merchant, e.livemode, e.gateway, e.app,
        e.method, e.category, e.failure, e.duration_bin, e.order_status, e.event_id,
        -e.payments, -e.amount_minor, -e.succeeded, -e.failed, -e.cancelled, -e.duration_ms, -e.sales, -e.gross_minor,
        -e.fee_minor, -e.unknown_fees, -e.unknown_fee_gross_minor, -e.sales_refunded, -e.sales_refunded_minor,
        -e.sales_disputed, -e.refunds, -e.refund_minor, -e.other_fee_minor, -e.disputes, -e.dispute_minor,
        -e.disputes_lost, -e.lost_minor, -e.held_minor, -e.orders, -e.ordered_minor, -e.paid_minor, -e.returned_minor,
        -e.tax_minor, -e.order_fee_minor, -e.discount_minor, -e.quantity, -e.sold_quantity, -e.sold_minor
    from (
        select * from total_entries where source = 'payment' and source_id = any (p_payments)
        union all
        select * from total_entries where source = 'refund' and source_id = any (p_refunds)
        union all
        select * from total_entries where source = 'dispute' and source_id = any (p_disputes)
        union all
        select * from total_entries where source = 'order' and source_id = any (p_orders)
    ) as e
$$;

-- Counts these rows anew. Whoever calls it holds the lock of counting.
create function recount_totals(p_payments bigint[], p_refunds bigint[], p_disputes bigint[], p_orders bigint[])
returns void language plpgsql as $$
declare
    fresh total_entries[] := array(
        select e from total_entries_of(p_payments, p_refunds, p_disputes, p_orders) as e);
begin
    perform add_to_totals(fresh || array(
        select e from total_entries_taken_back(p_payments, p_refunds, p_disputes, p_orders) as e));
    delete from total_entries where source = 'payment' and source_id = any (p_payments);
    delete from total_entries where source = 'refund' and source_id = any (p_refunds);
    delete from total_entries where source = 'dispute' and source_id = any (p_disputes);
    delete from total_entries where source = 'order' and source_id = any (p_orders);
    insert into total_entries select * from unnest(fresh);
end
$$;

-- What is to be counted anew when these rows have changed: a refund counts under what its payment says, and a payment's
-- own figures look at its refunds and disputes.
create function total_family(
    inout p_payments bigint[], inout p_refunds bigint[], inout p_disputes bigint[]
) language plpgsql stable as $$
begin
    p_payments := array(
        select unnest(p_payments)
        union select payment_id from refunds where id = any (p_refunds) and payment_id is not null
        union select payment_id from disputes where id = any (p_disputes) and payment_id is not null);
    p_refunds := array(
        select unnest(p_refunds) union select id from refunds where payment_id = any (p_payments));
    p_disputes := array(
        select unnest(p_disputes) union select id from disputes where payment_id = any (p_payments));
end
$$;

-- Counts what is marked, at most so many marks; returns how many it took, or null while somebody else counts.
create function fold_totals(p_most integer) returns integer language plpgsql as $$
declare
    marked record;
    family record;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('gatehouse/totals', 0)) then
        return null;
    end if;
    with taken as (
        delete from total_marks where ctid = any (array(select ctid from total_marks limit p_most))
        returning source, source_id
    )
    select count(*)::integer as marks,
        coalesce(array_agg(distinct source_id) filter (where source = 'payment'), '{}') as payments,
        coalesce(array_agg(distinct source_id) filter (where source = 'refund'), '{}') as refunds,
        coalesce(array_agg(distinct source_id) filter (where source = 'dispute'), '{}') as disputes,
        coalesce(array_agg(distinct source_id) filter (where source = 'order'), '{}') as orders
    into marked from taken;
    -- A row that somebody changes at this moment is counted as it was, and its mark comes with the change.
    select * into family from total_family(marked.payments, marked.refunds, marked.disputes);
    perform recount_totals(family.p_payments, family.p_refunds, family.p_disputes, marked.orders);
    return marked.marks;
end
$$;

-- What is to be added to the sums because of what is marked and not counted yet: of one merchant, or of all ('*'). With
-- more marks than p_most it is nothing, and the sums are as old as the oldest mark.
create function totals_outstanding(p_merchant text, p_most integer) returns setof total_entries
language plpgsql stable as $$
declare
    marked record;
    family record;
begin
    select count(*) as marks,
        coalesce(array_agg(distinct source_id) filter (where source = 'payment'), '{}') as payments,
        coalesce(array_agg(distinct source_id) filter (where source = 'refund'), '{}') as refunds,
        coalesce(array_agg(distinct source_id) filter (where source = 'dispute'), '{}') as disputes,
        coalesce(array_agg(distinct source_id) filter (where source = 'order'), '{}') as orders
    into marked from total_marks where merchant = p_merchant or p_merchant = '*';
    if marked.marks = 0 or marked.marks > p_most then
        return;
    end if;
    select * into family from total_family(marked.payments, marked.refunds, marked.disputes);
    return query
    select * from total_entries_of(family.p_payments, family.p_refunds, family.p_disputes, marked.orders)
    union all
    select * from total_entries_taken_back(family.p_payments, family.p_refunds, family.p_disputes, marked.orders);
end
$$;

-- Until when the answers of the reports are complete.
create function totals_as_of(p_merchant text, p_most integer) returns timestamptz language sql stable as $$
    select case when count(*) <= p_most then now() else min(marked_at) end
    from total_marks where merchant = p_merchant or p_merchant = '*'
$$;

-- migrate: down

drop function totals_as_of(text, integer);
drop function totals_outstanding(text, integer);
drop function fold_totals(integer);
drop function total_family(bigint[], bigint[], bigint[]);
drop function recount_totals(bigint[], bigint[], bigint[], bigint[]);
drop function total_entries_taken_back(bigint[], bigint[], bigint[], bigint[]);
drop function add_to_totals(total_entries[]);
drop function total_bucket(text, timestamptz);
drop function is_kept(text, text, text);
drop function total_detail(total_entries, text);
drop function total_value(total_entries, text);
drop function total_entries_of(bigint[], bigint[], bigint[], bigint[]);
drop function quarter_hour(timestamptz);
drop aggregate total_sum(bigint);
