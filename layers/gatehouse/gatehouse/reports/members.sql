-- Memberships as they stood at the beginning and at the end of a period: what is now, less what the audit says came since.

-- name: movements
-- How many members there were and what they paid a month, by category and currency, and how that moved.
with standing as (
    select m.category, coalesce(m.currency, '') as currency, m.started_at,
        coalesce(bool_or(a.action = 'insert' and a.at >= :since::timestamptz), false) as came_in_it,
        coalesce(bool_or(a.action = 'insert' and a.at >= :until::timestamptz), false) as came_after_it,
        case when count(a.id) filter (where a.at >= :since::timestamptz and a.changes ? 'status') = 0 then m.status
            else (array_agg(a.changes #>> '{status,0}' order by a.id)
                filter (where a.at >= :since::timestamptz and a.changes ? 'status'))[1] end as status_before,
        case when count(a.id) filter (where a.at >= :until::timestamptz and a.changes ? 'status') = 0 then m.status
            else (array_agg(a.changes #>> '{status,0}' order by a.id)
                filter (where a.at >= :until::timestamptz and a.changes ? 'status'))[1] end as status_after,
        case when count(a.id) filter (where a.at >= :since::timestamptz and a.changes ? 'amount_minor') = 0
            then m.amount_minor
            else (array_agg((a.changes #>> '{amount_minor,0}')::bigint order by a.id)
                filter (where a.at >= :since::timestamptz and a.changes ? 'amount_minor'))[1] end as amount_before,
        case when count(a.id) filter (where a.at >= :until::timestamptz and a.changes ? 'amount_minor') = 0
            then m.amount_minor
            else (array_agg((a.changes #>> '{amount_minor,0}')::bigint order by a.id)
                filter (where a.at >= :until::timestamptz and a.changes ? 'amount_minor'))[1] end as amount_after,
        case when count(a.id) filter (where a.at >= :since::timestamptz and a.changes ? 'renews_every') = 0
            then m.renews_every
            else (array_agg(a.changes #>> '{renews_every,0}' order by a.id)
                filter (where a.at >= :since::timestamptz and a.changes ? 'renews_every'))[1] end as every_before,
        case when count(a.id) filter (where a.at >= :until::timestamptz and a.changes ? 'renews_every') = 0
            then m.renews_every
            else (array_agg(a.changes #>> '{renews_every,0}' order by a.id)
                filter (where a.at >= :until::timestamptz and a.changes ? 'renews_every'))[1] end as every_after
    from memberships m
    left join payment_audit_log a
        on a.table_name = 'memberships' and a.row_id = m.id and a.at >= :since::timestamptz
    where m.livemode = :livemode::boolean and (:merchant::text = '*' or m.merchant = :merchant::text)
    group by m.id
),
counted as (
    select category, currency, started_at, status_before, status_after, came_in_it and not came_after_it as came_in_it,
        not came_in_it and status_before in ('active', 'past_due') as was_member,
        not came_after_it and status_after in ('active', 'past_due') as is_member,
        not came_after_it as is_there, not came_in_it as was_there,
        paid_a_month(amount_before, every_before) as mrr_before, paid_a_month(amount_after, every_after) as mrr_after
    from standing
)
select category, currency,
    count(*) filter (where was_member) as members_before,
    count(*) filter (where started_at >= :since::timestamptz and started_at < :until::timestamptz) as started,
    count(*) filter (where not was_member and is_member) as became_member,
    count(*) filter (where was_member and not is_member) as lost,
    count(*) filter (where is_there and status_after = 'canceled' and not (was_there and status_before = 'canceled'))
        as canceled,
    count(*) filter (where is_member) as members_after,
    count(*) filter (where is_there and status_after = 'paused') as paused_after,
    count(*) filter (where is_member and mrr_after is null) as without_interval,
    coalesce(sum(mrr_before) filter (where was_member), 0)::bigint as mrr_before_minor,
    coalesce(sum(mrr_after) filter (where not was_member and is_member and came_in_it), 0)::bigint as mrr_new_minor,
    coalesce(sum(mrr_after) filter (where not was_member and is_member and not came_in_it), 0)::bigint
        as mrr_reactivated_minor,
    coalesce(sum(greatest(coalesce(mrr_after, 0) - coalesce(mrr_before, 0), 0)) filter (where was_member and is_member),
        0)::bigint as mrr_expansion_minor,
    coalesce(sum(least(coalesce(mrr_after, 0) - coalesce(mrr_before, 0), 0)) filter (where was_member and is_member),
        0)::bigint as mrr_contraction_minor,
    coalesce(-sum(mrr_before) filter (where was_member and not is_member), 0)::bigint as mrr_lost_minor,
    coalesce(sum(mrr_after) filter (where is_member), 0)::bigint as mrr_after_minor
from counted
group by category, currency
order by category, currency;

-- name: cohorts
-- Members by the month in which they started, and how many of them are there now.
select category, to_char(started_at at time zone :zone::text, 'YYYY-MM') as started_in, count(*) as members,
    count(*) filter (where status in ('active', 'past_due')) as active_now,
    count(*) filter (where status = 'paused') as paused_now,
    count(*) filter (where status = 'canceled') as canceled_now,
    coalesce(sum(payment_count), 0)::bigint as payments
from memberships
where livemode = :livemode::boolean and (:merchant::text = '*' or merchant = :merchant::text)
  and started_at >= :since::timestamptz and started_at < :until::timestamptz
group by 1, 2
order by 1, 2;
