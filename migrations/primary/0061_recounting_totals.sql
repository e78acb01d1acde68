-- A recount of everything, beside what was counted: reported, and put right where that is asked for.
-- migrate: up

-- Compares the entries of some payments with what their rows say now, and with their refunds and disputes; gives those
-- that differ. What is marked is about to be counted anyway. One statement, so one moment.
create function drifted_payments(p_from bigint, p_to bigint) returns table (payment_id bigint, merchant text)
language sql stable as $$
    with asked as (
        select array(select id from payments where id >= p_from and id < p_to) as payments
    ), family as (
        select asked.payments,
            array(select r.id from refunds r where r.payment_id = any (asked.payments)) as refunds,
            array(select d.id from disputes d where d.payment_id = any (asked.payments)) as disputes
        from asked
    ), marked as (
        select source_id as id from total_marks where source = 'payment'
        union
        select r.payment_id from total_marks m join refunds r on r.id = m.source_id where m.source = 'refund'
        union
        select d.payment_id from total_marks m join disputes d on d.id = m.source_id where m.source = 'dispute'
    ), fresh as (
        select e from family, total_entries_of(family.payments, family.refunds, family.disputes, '{}') as e
    ), held as (
        select e from family, total_entries as e where e.source = 'payment' and e.source_id = any (family.payments)
        union all
        select e from family, total_entries as e where e.source = 'refund' and e.source_id = any (family.refunds)
        union all
        select e from family, total_entries as e where e.source = 'dispute' and e.source_id = any (family.disputes)
    ), different as (
        (select e from fresh except all select e from held)
        union all
        (select e from held except all select e from fresh)
    )
    select distinct p.id, p.merchant
    from different
    join payments p on p.id = case (different.e).source
        when 'payment' then (different.e).source_id
        when 'refund' then (select r.payment_id from refunds r where r.id = (different.e).source_id)
        else (select d.payment_id from disputes d where d.id = (different.e).source_id) end
    where p.id not in (select id from marked where id is not null)
$$;

-- The same of orders.
create function drifted_orders(p_from bigint, p_to bigint) returns table (order_id bigint, merchant text)
language sql stable as $$
    with asked as (
        select array(select id from orders where id >= p_from and id < p_to) as orders
    ), fresh as (
        select e from asked, total_entries_of('{}', '{}', '{}', asked.orders) as e
    ), held as (
        select e from asked, total_entries as e where e.source = 'order' and e.source_id = any (asked.orders)
    ), different as (
        (select e from fresh except all select e from held)
        union all
        (select e from held except all select e from fresh)
    )
    select distinct o.id, o.merchant from different join orders o on o.id = (different.e).source_id
    where o.id not in (select source_id from total_marks where source = 'order')
$$;

-- The same of refunds and disputes that belong to no payment that we know.
create function drifted_orphans() returns table (source text, source_id bigint, merchant text)
language sql stable as $$
    with family as (
        select array(select id from refunds where payment_id is null) as refunds,
            array(select id from disputes where payment_id is null) as disputes
    ), fresh as (
        select e from family, total_entries_of('{}', family.refunds, family.disputes, '{}') as e
    ), held as (
        select e from total_entries as e
        where e.source = 'refund' and not exists (
            select from refunds r where r.id = e.source_id and r.payment_id is not null)
        union all
        select e from total_entries as e
        where e.source = 'dispute' and not exists (
            select from disputes d where d.id = e.source_id and d.payment_id is not null)
    ), different as (
        (select e from fresh except all select e from held)
        union all
        (select e from held except all select e from fresh)
    )
    select distinct (e).source, (e).source_id, (e).merchant from different
    where not exists (
        select from total_marks m where m.source = (different.e).source and m.source_id = (different.e).source_id)
$$;

-- What sums differ by from what they are made of: hours and days from entries, months from their days.
-- Nothing, unless somebody has changed one of them by hand.
create function drift_of_totals(p_since timestamptz, p_until timestamptz, p_levels text[]) returns setof totals
language sql stable as $$
    select merchant, livemode, breakdown, level, bucket, currency, value, detail,
        total_sum(payments), total_sum(amount_minor), total_sum(succeeded), total_sum(failed), total_sum(cancelled),
        total_sum(duration_ms), total_sum(sales), total_sum(gross_minor), total_sum(fee_minor),
        total_sum(unknown_fees), total_sum(unknown_fee_gross_minor), total_sum(sales_refunded),
        total_sum(sales_refunded_minor), total_sum(sales_disputed), total_sum(refunds), total_sum(refund_minor),
        total_sum(other_fee_minor), total_sum(disputes), total_sum(dispute_minor), total_sum(disputes_lost),
        total_sum(lost_minor), total_sum(held_minor), total_sum(orders), total_sum(ordered_minor),
        total_sum(paid_minor), total_sum(returned_minor), total_sum(tax_minor), total_sum(order_fee_minor),
        total_sum(discount_minor), total_sum(quantity), total_sum(sold_quantity), total_sum(sold_minor)
    from (
        select scope as merchant, e.livemode, breakdown, level, total_bucket(level, e.bucket) as bucket, e.currency,
            value, detail,
            e.payments, e.amount_minor, e.succeeded, e.failed, e.cancelled, e.duration_ms, e.sales, e.gross_minor,
            e.fee_minor, e.unknown_fees, e.unknown_fee_gross_minor, e.sales_refunded, e.sales_refunded_minor,
            e.sales_disputed, e.refunds, e.refund_minor, e.other_fee_minor, e.disputes, e.dispute_minor,
            e.disputes_lost, e.lost_minor, e.held_minor, e.orders, e.ordered_minor, e.paid_minor, e.returned_minor,
            e.tax_minor, e.order_fee_minor, e.discount_minor, e.quantity, e.sold_quantity, e.sold_minor
        from total_entries as e
        cross join lateral (values
            ('gateway', e.gateway, ''), ('app', e.app, ''), ('method', e.method, ''), ('category', e.category, ''),
            ('failure', e.failure, e.gateway), ('duration', e.duration_bin::text, e.gateway),
            ('order', e.order_status, e.event_id), ('item', nullif(e.part, ''), e.event_id)
        ) as told (breakdown, value, detail)
        cross join lateral (values (e.merchant), ('*')) as whose (scope)
        cross join (values ('hour'), ('day'), ('month')) as levels (level)
        where value is not null and is_kept(breakdown, level, scope)
          and e.bucket >= p_since and e.bucket < p_until and level = any (p_levels) and level <> 'month'
        union all
        select merchant, livemode, breakdown, 'month', total_bucket('month', bucket), currency, value, detail,
            payments, amount_minor, succeeded, failed, cancelled, duration_ms, sales, gross_minor, fee_minor,
            unknown_fees, unknown_fee_gross_minor, sales_refunded, sales_refunded_minor, sales_disputed, refunds,
            refund_minor, other_fee_minor, disputes, dispute_minor, disputes_lost, lost_minor, held_minor, orders,
            ordered_minor, paid_minor, returned_minor, tax_minor, order_fee_minor, discount_minor, quantity,
            sold_quantity, sold_minor
        from totals
        where level = 'day' and 'month' = any (p_levels) and bucket >= p_since and bucket < p_until
        union all
        select merchant, livemode, breakdown, level, bucket, currency, value, detail,
            -payments, -amount_minor, -succeeded, -failed, -cancelled, -duration_ms, -sales, -gross_minor, -fee_minor,
            -unknown_fees, -unknown_fee_gross_minor, -sales_refunded, -sales_refunded_minor, -sales_disputed,
            -refunds, -refund_minor, -other_fee_minor, -disputes, -dispute_minor, -disputes_lost, -lost_minor,
            -held_minor, -orders, -ordered_minor, -paid_minor, -returned_minor, -tax_minor, -order_fee_minor,
            -discount_minor, -quantity, -sold_quantity, -sold_minor
        from totals where level = any (p_levels) and bucket >= p_since and bucket < p_until
    ) as both_sides
    group by merchant, livemode, breakdown, level, bucket, currency, value, detail
    having total_sum(payments) <> 0
        or total_sum(amount_minor) <> 0
        or total_sum(succeeded) <> 0
        or total_sum(failed) <> 0
        or total_sum(cancelled) <> 0
        or total_sum(duration_ms) <> 0
        or total_sum(sales) <> 0
        or total_sum(gross_minor) <> 0
        or total_sum(fee_minor) <> 0
        or total_sum(unknown_fees) <> 0
        or total_sum(unknown_fee_gross_minor) <> 0
        or total_sum(sales_refunded) <> 0
        or total_sum(sales_refunded_minor) <> 0
        or total_sum(sales_disputed) <> 0
        or total_sum(refunds) <> 0
        or total_sum(refund_minor) <> 0
        or total_sum(other_fee_minor) <> 0
        or total_sum(disputes) <> 0
        or total_sum(dispute_minor) <> 0
        or total_sum(disputes_lost) <> 0
        or total_sum(lost_minor) <> 0
        or total_sum(held_minor) <> 0
        or total_sum(orders) <> 0
        or total_sum(ordered_minor) <> 0
        or total_sum(paid_minor) <> 0
        or total_sum(returned_minor) <> 0
        or total_sum(tax_minor) <> 0
        or total_sum(order_fee_minor) <> 0
        or total_sum(discount_minor) <> 0
        or total_sum(quantity) <> 0
        or total_sum(sold_quantity) <> 0
        or total_sum(sold_minor) <> 0
$$;

-- Adds what they differ by to sums; returns how many were wrong, or null while somebody else counts.
create function repair_totals(p_since timestamptz, p_until timestamptz, p_levels text[]) returns integer
language plpgsql as $$
declare
    repaired integer;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('gatehouse/totals', 0)) then
        return null;
    end if;
    insert into totals as held select * from drift_of_totals(p_since, p_until, p_levels)
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
        sold_minor = coalesce(held.sold_minor, 0) + coalesce(excluded.sold_minor, 0);
    get diagnostics repaired = row_count;
    return repaired;
end
$$;

-- migrate: down

drop function repair_totals(timestamptz, timestamptz, text[]);
drop function drift_of_totals(timestamptz, timestamptz, text[]);
drop function drifted_orphans();
drop function drifted_orders(bigint, bigint);
drop function drifted_payments(bigint, bigint);
