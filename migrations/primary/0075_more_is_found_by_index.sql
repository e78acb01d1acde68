-- A merchant's invoice by its number, the invoices of one customer, and the payments of one subscription are found by
-- indexes of the merchant's own: each was a walk through all that the merchant has.
-- migrate: no-transaction
-- migrate: up

create index concurrently invoices_number on invoices (merchant, number) where number is not null;
create index concurrently invoices_of_customer on invoices (merchant, customer_ref) where customer_ref is not null;
create index concurrently payments_of_subscription on payments (merchant, subscription_ref)
    where subscription_ref is not null;
-- The days that were compared of late, of all accounts.
create index concurrently completeness_by_day on completeness (day);

-- What went wrong with one merchant's deliveries. Its condition is not that of the index of all failures, which would
-- be walked through instead.
create index concurrently webhook_forward_logs_errors on webhook_forward_logs (merchant, id desc)
    where error_class is not null;

-- migrate: down

drop index concurrently if exists webhook_forward_logs_errors;
drop index concurrently if exists completeness_by_day;
drop index concurrently if exists payments_of_subscription;
drop index concurrently if exists invoices_of_customer;
drop index concurrently if exists invoices_number;
