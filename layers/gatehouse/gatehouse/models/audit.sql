-- The audit: who changed what and why. It can be read, and nothing else.

-- name: history_of_row
-- What happened to one row, oldest first.
select id, at, table_name, row_id, action, actor, webhook_event_id, changes
from payment_audit_log
where merchant = :merchant::text and table_name = :table_name::text and row_id = :row_id::bigint
order by id;

-- name: history_of_order
-- What happened to an order, its items, its payments and their refunds, oldest first.
select a.id, a.at, a.table_name, a.row_id, a.action, a.actor, a.webhook_event_id, a.changes
from (
    select 'orders' as table_name, :order_id::bigint as row_id
    union all
    select 'order_items', id from order_items where merchant = :merchant::text and order_id = :order_id::bigint
    union all
    select 'payments', id from payments where merchant = :merchant::text and order_id = :order_id::bigint
    union all
    select 'refunds', r.id from payments p join refunds r on r.payment_id = p.id
    where p.merchant = :merchant::text and p.order_id = :order_id::bigint
) as part
join payment_audit_log a on a.table_name = part.table_name and a.row_id = part.row_id
where a.merchant = :merchant::text
order by a.id;
