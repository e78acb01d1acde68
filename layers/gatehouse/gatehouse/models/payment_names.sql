-- Payments, as ops look them up.

-- name: find_payments
-- Payments by our number, any name of theirs, of a refund or of a dispute, or the merchant's reference; one that was
-- joined away leads to its home. An index cannot be asked by an object's id alone, so it is asked once per kind of name.
with recursive kinds_of_name as (
    (select gateway, account, kind from payment_objects order by gateway, account, kind limit 1)
    union all
    select following.gateway, following.account, following.kind
    from kinds_of_name k
    cross join lateral (
        select gateway, account, kind from payment_objects
        where (gateway, account, kind) > (k.gateway, k.account, k.kind)
        order by gateway, account, kind limit 1
    ) as following
),
kinds_of_other_name as (
    (select gateway, account, kind from subject_names order by gateway, account, kind limit 1)
    union all
    select following.gateway, following.account, following.kind
    from kinds_of_other_name k
    cross join lateral (
        select gateway, account, kind from subject_names
        where (gateway, account, kind) > (k.gateway, k.account, k.kind)
        order by gateway, account, kind limit 1
    ) as following
),
found as (
    select id from payments where id = :number::bigint
    union
    select o.payment_id
    from kinds_of_name k
    join payment_objects o on (o.gateway, o.account, o.kind) = (k.gateway, k.account, k.kind)
        and o.object_id = :name::text
    union
    select coalesce(r.payment_id, d.payment_id)
    from kinds_of_other_name k
    join subject_names n on (n.gateway, n.account, n.kind) = (k.gateway, k.account, k.kind)
        and n.object_id = :name::text
    left join refunds r on n.subject_kind = 'refund' and r.id = n.subject_id
    left join disputes d on n.subject_kind = 'dispute' and d.id = n.subject_id
    union
    select p.id from merchants m join payments p on p.merchant = m.id and p.reference = :name::text
)
select distinct home.id, home.merchant, home.gateway, home.account, home.status, home.livemode
from found
join payments p on p.id = found.id
join payments home on home.id = coalesce(p.merged_into, p.id)
order by home.id;
