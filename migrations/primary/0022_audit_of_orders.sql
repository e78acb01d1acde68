-- The audit of customers, orders and items: as of payments, by triggers that nobody can go round.
-- migrate: up

create trigger customers_audit_insert after insert on customers
    for each row execute function write_audit('email', 'email_key', 'first_name', 'last_name', 'phone', 'search');
create trigger customers_audit_update after update on customers
    for each row when (old.* is distinct from new.*)
    execute function write_audit('email', 'email_key', 'first_name', 'last_name', 'phone', 'search');
create trigger customers_audit_delete after delete on customers
    for each row execute function write_audit('email', 'email_key', 'first_name', 'last_name', 'phone', 'search');

create trigger orders_audit_insert after insert on orders
    for each row execute function write_audit('metadata', 'content_hash', 'search');
create trigger orders_audit_update after update on orders
    for each row when (old.* is distinct from new.*)
    execute function write_audit('metadata', 'content_hash', 'search');
create trigger orders_audit_delete after delete on orders
    for each row execute function write_audit('metadata', 'content_hash', 'search');

create trigger order_items_audit_insert after insert on order_items
    for each row execute function write_audit('description', 'attendee_name', 'attendee_email', 'attendee_email_key');
create trigger order_items_audit_update after update on order_items
    for each row when (old.* is distinct from new.*)
    execute function write_audit('description', 'attendee_name', 'attendee_email', 'attendee_email_key');
create trigger order_items_audit_delete after delete on order_items
    for each row execute function write_audit('description', 'attendee_name', 'attendee_email', 'attendee_email_key');

-- migrate: down

drop trigger customers_audit_insert on customers;
drop trigger customers_audit_update on customers;
drop trigger customers_audit_delete on customers;
drop trigger orders_audit_insert on orders;
drop trigger orders_audit_update on orders;
drop trigger orders_audit_delete on orders;
drop trigger order_items_audit_insert on order_items;
drop trigger order_items_audit_update on order_items;
drop trigger order_items_audit_delete on order_items;
