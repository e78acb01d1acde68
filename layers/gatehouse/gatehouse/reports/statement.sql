-- What a monthly statement needs besides sums.

-- name: payouts_settled
-- What was paid out before a moment and from then up to another, by gateway and currency; a batch is its parts.
select gateway, currency,
    coalesce(sum(amount_minor + coalesce(fee_minor, 0)) filter (where at < :since::timestamptz), 0)::bigint
        as before_minor,
    count(*) filter (where at >= :since::timestamptz) as payouts,
    coalesce(sum(amount_minor) filter (where at >= :since::timestamptz), 0)::bigint as paid_minor,
    coalesce(sum(fee_minor) filter (where at >= :since::timestamptz), 0)::bigint as fee_minor
from payouts
cross join lateral (select coalesce(settled_at, arrives_at, first_fact_at) as at) as settled
where status = 'settled' and kind is distinct from 'batch' and livemode = :livemode::boolean
  and currency is not null and amount_minor is not null
  and (:merchant::text = '*' or merchant = :merchant::text)
  and at < :until::timestamptz
group by gateway, currency;

-- name: payouts_open
-- Payouts of the period that are under way, failed, or came back.
select gateway, coalesce(currency, '') as currency, gateway_id, status, amount_minor, reversed_minor
from payouts
where (status <> 'settled' or reversed_minor > 0) and kind is distinct from 'batch' and livemode = :livemode::boolean
  and (:merchant::text = '*' or merchant = :merchant::text)
  and first_fact_at >= :since::timestamptz and first_fact_at < :until::timestamptz
order by gateway, currency, first_fact_at, id
limit :most::integer;
