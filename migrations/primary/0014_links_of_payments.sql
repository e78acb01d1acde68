-- The indexes by which payments are found from what they hang on; built beside the traffic, as payments may be many.
-- migrate: no-transaction
-- migrate: up

create index concurrently payments_subscription
    on payments (gateway, account, subscription_ref) where subscription_ref is not null;
create index concurrently payments_invoice on payments (gateway, account, invoice_ref) where invoice_ref is not null;
create index concurrently payments_email on payments (merchant, lower(email)) where email is not null;
create index concurrently payments_user on payments (merchant, app, user_id) where user_id is not null;

-- migrate: down

drop index concurrently if exists payments_user;
drop index concurrently if exists payments_email;
drop index concurrently if exists payments_invoice;
drop index concurrently if exists payments_subscription;
