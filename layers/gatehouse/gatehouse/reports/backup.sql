-- What reports are made of, as the backup database has it: no sums, but the payments themselves, with the same meaning.

-- name: as_of
-- Until when the backup knows everything.
select as_of from backup_progress;

-- name: attempt_cells
-- Payments by when they were first heard of; those that only the backup was told of are in no figure.
with cells as (
    select s.first_fact_at as at, coalesce(s.currency, '') as currency,
        case :breakdown::text
            when 'gateway' then s.gateway_provider
            when 'failure' then case when s.status = 'failed' then coalesce(s.failure_code, '') end
            when 'duration' then ceil(ln(greatest(took_ms, 1)::float8) / ln(1.1::float8))::integer::text
        end as value,
        case when :breakdown::text in ('failure', 'duration') then s.gateway_provider else '' end as detail,
        s.amount_minor, is_sale, s.status, took_ms
    from payment_services s
    cross join lateral (select s.status in ('completed', 'refunded', 'partially_refunded') as is_sale) as sale
    cross join lateral (
        select case when is_sale and s.completed_at is not null then
            greatest(extract(epoch from s.completed_at - s.first_fact_at) * 1000, 0)::bigint end as took_ms
    ) as took
    where s.merchant = :merchant::text and s.livemode = :livemode::boolean and s.merged_into is null and s.id > 0
      and s.first_fact_at >= :since::timestamptz and s.first_fact_at < :until::timestamptz
)
select width_bucket(at, :starts::timestamptz[]) - 1 as slot, currency, value, detail,
    count(*) as payments, coalesce(sum(amount_minor), 0)::bigint as amount_minor,
    count(*) filter (where is_sale) as succeeded, count(*) filter (where status = 'failed') as failed,
    count(*) filter (where status = 'cancelled') as cancelled, coalesce(sum(took_ms), 0)::bigint as duration_ms
from cells
where value is not null and (:value::text is null or value = :value::text)
  and (:detail::text is null or detail = :detail::text)
group by 1, 2, 3, 4
order by 1, 3, 4, 2;

-- name: sale_cells
-- Money by when it came in and went back. What a gateway calls refunded without naming a refund counts by when the
-- payment was last heard of: when it was first said stands in facts, which are sealed here.
with paid as (
    select p.*, p.status in ('completed', 'refunded', 'partially_refunded') as is_sale
    from payments p
    where p.merchant = :merchant::text and p.livemode = :livemode::boolean and p.merged_into is null and p.id > 0
),
said as (
    select p.id, coalesce(p.completed_at, p.first_fact_at) as at, coalesce(p.currency, '') as currency,
        1 as sales, p.received_minor as gross_minor, null::bigint as fee_minor,
        case when p.fee_minor is null then 1 end as unknown_fees,
        case when p.fee_minor is null then p.received_minor end as unknown_fee_gross_minor,
        null::integer as refunds, null::bigint as refund_minor, null::bigint as other_fee_minor
    from paid p where is_sale
    union all
    select p.id, coalesce(p.completed_at, p.first_fact_at), p.fee_currency, null, null, p.fee_minor, null, null, null,
        null, null
    from paid p where is_sale and p.fee_minor is not null
    union all
    select p.id, p.last_fact_at, coalesce(p.currency, ''), null, null, null, null, null, 1,
        p.refunded_minor - itemised.minor, null
    from paid p
    cross join lateral (
        select coalesce(sum(r.amount_minor), 0)::bigint as minor from refunds r
        where r.payment_id = p.id and r.status = 'completed' and r.currency = p.currency
    ) as itemised
    where is_sale and p.refunded_minor > itemised.minor
    union all
    select p.id, coalesce(r.refunded_at, r.first_fact_at), coalesce(r.currency, p.currency, ''), null, null, null, null,
        null, 1, coalesce(r.amount_minor, 0), r.fee_minor
    from refunds r join paid p on p.id = r.payment_id
    where r.status = 'completed'
    union all
    select p.id, coalesce(d.opened_at, d.first_fact_at), coalesce(d.currency, p.currency, ''), null, null, null, null,
        null, null, null, d.fee_minor
    from disputes d join paid p on p.id = d.payment_id
),
cells as (
    select said.*, case :breakdown::text when 'gateway' then p.gateway when 'app' then coalesce(p.app, '')
        when 'method' then coalesce(p.method, '') end as value
    from said join paid p using (id)
    where at >= :since::timestamptz and at < :until::timestamptz
)
select width_bucket(at, :starts::timestamptz[]) - 1 as slot, currency,
    case when :apart::boolean then value else '' end as value, '' as detail,
    coalesce(sum(sales), 0)::bigint as sales, coalesce(sum(gross_minor), 0)::bigint as gross_minor,
    coalesce(sum(fee_minor), 0)::bigint as fee_minor, coalesce(sum(unknown_fees), 0)::bigint as unknown_fees,
    coalesce(sum(unknown_fee_gross_minor), 0)::bigint as unknown_fee_gross_minor,
    coalesce(sum(refunds), 0)::bigint as refunds, coalesce(sum(refund_minor), 0)::bigint as refund_minor,
    coalesce(sum(other_fee_minor), 0)::bigint as other_fee_minor
from cells
where value is not null and (:value::text is null or value = :value::text)
  and (:detail::text is null or :detail::text = '')
group by 1, 2, 3, 4
order by 1, 3, 4, 2;

-- name: back_cells
-- What went back, of the sales of a time and in it; as in sale_cells, refunds without a name by when the payment was last
-- heard of.
with paid as (
    select p.*, p.status in ('completed', 'refunded', 'partially_refunded') as is_sale
    from payments p
    where p.merchant = :merchant::text and p.livemode = :livemode::boolean and p.merged_into is null and p.id > 0
),
said as (
    select p.id, coalesce(p.completed_at, p.first_fact_at) as at, coalesce(p.currency, '') as currency,
        1 as sales, p.received_minor as gross_minor, case when p.refunded_minor > 0 then 1 end as sales_refunded,
        nullif(p.refunded_minor, 0) as sales_refunded_minor,
        case when exists (select from disputes d where d.payment_id = p.id and d.status <> 'warning') then 1
            end as sales_disputed,
        null::integer as refunds, null::bigint as refund_minor, null::integer as disputes,
        null::bigint as dispute_minor, null::integer as disputes_lost, null::bigint as lost_minor
    from paid p where is_sale
    union all
    select p.id, p.last_fact_at, coalesce(p.currency, ''), null, null, null, null, null, 1,
        p.refunded_minor - itemised.minor, null, null, null, null
    from paid p
    cross join lateral (
        select coalesce(sum(r.amount_minor), 0)::bigint as minor from refunds r
        where r.payment_id = p.id and r.status = 'completed' and r.currency = p.currency
    ) as itemised
    where is_sale and p.refunded_minor > itemised.minor
    union all
    select p.id, coalesce(r.refunded_at, r.first_fact_at), coalesce(r.currency, p.currency, ''), null, null, null, null,
        null, 1, coalesce(r.amount_minor, 0), null, null, null, null
    from refunds r join paid p on p.id = r.payment_id
    where r.status = 'completed'
    union all
    select p.id, coalesce(d.opened_at, d.first_fact_at), coalesce(d.currency, p.currency, ''), null, null, null, null,
        null, null, null, 1, d.amount_minor, case when d.status = 'lost' then 1 end,
        case when d.status = 'lost' then d.amount_minor end
    from disputes d join paid p on p.id = d.payment_id
    where d.status <> 'warning'
),
cells as (
    select said.*, case :breakdown::text when 'gateway' then p.gateway end as value
    from said join paid p using (id)
    where at >= :since::timestamptz and at < :until::timestamptz
)
select width_bucket(at, :starts::timestamptz[]) - 1 as slot, currency, value, '' as detail,
    coalesce(sum(sales), 0)::bigint as sales, coalesce(sum(gross_minor), 0)::bigint as gross_minor,
    coalesce(sum(sales_refunded), 0)::bigint as sales_refunded,
    coalesce(sum(sales_refunded_minor), 0)::bigint as sales_refunded_minor,
    coalesce(sum(sales_disputed), 0)::bigint as sales_disputed, coalesce(sum(refunds), 0)::bigint as refunds,
    coalesce(sum(refund_minor), 0)::bigint as refund_minor, coalesce(sum(disputes), 0)::bigint as disputes,
    coalesce(sum(dispute_minor), 0)::bigint as dispute_minor,
    coalesce(sum(disputes_lost), 0)::bigint as disputes_lost, coalesce(sum(lost_minor), 0)::bigint as lost_minor
from cells
where value is not null and (:value::text is null or value = :value::text)
  and (:detail::text is null or :detail::text = '')
group by 1, 2, 3, 4
order by 1, 3, 4, 2;
