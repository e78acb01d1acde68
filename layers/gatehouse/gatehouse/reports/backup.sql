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
