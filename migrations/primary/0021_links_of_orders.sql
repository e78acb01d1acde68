-- The indexes by which payments are found from their order and customer, and by the order that they name.
-- migrate: no-transaction
-- migrate: up

create index concurrently payments_order on payments (order_id) where order_id is not null;
create index concurrently payments_customer_id on payments (customer_id) where customer_id is not null;
create index concurrently payments_order_number on payments (merchant, (metadata ->> 'order_number'))
    where metadata ->> 'order_number' is not null;
create index concurrently payments_order_named on payments (merchant, (metadata ->> 'order_id'))
    where metadata ->> 'order_id' is not null;
create index concurrently gateway_customers_customer on gateway_customers (customer_id) where customer_id is not null;

-- migrate: down

drop index concurrently if exists gateway_customers_customer;
drop index concurrently if exists payments_order_named;
drop index concurrently if exists payments_order_number;
drop index concurrently if exists payments_customer_id;
drop index concurrently if exists payments_order;
