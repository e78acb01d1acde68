-- The indexes by which payments of a rare status, and orders with a rare type of item, are found, without reading the
-- rest.
-- migrate: no-transaction
-- migrate: up

-- Most payments are completed: those are read off payments_newest, and cost no entry here.
create index concurrently payments_of_status on payments (merchant, status, first_fact_at desc, id desc)
    where merged_into is null and status <> 'completed';
create index concurrently order_items_of_type on order_items (merchant, item_type, ordered_at desc, order_id desc);
drop index concurrently if exists order_items_type;

-- migrate: down

create index concurrently order_items_type on order_items (merchant, item_type, order_id);
drop index concurrently if exists order_items_of_type;
drop index concurrently if exists payments_of_status;
