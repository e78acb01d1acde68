-- The audit of everything else that is folded: as of payments, by triggers that nobody can go round.
-- migrate: up

drop trigger payments_audit_insert on payments;
drop trigger payments_audit_update on payments;
drop trigger payments_audit_delete on payments;
create trigger payments_audit_insert after insert on payments
    for each row execute function write_audit('metadata', 'failure_message', 'customer_ref', 'email', 'user_id');
create trigger payments_audit_update after update on payments
    for each row when (old.* is distinct from new.*)
    execute function write_audit('metadata', 'failure_message', 'customer_ref', 'email', 'user_id');
create trigger payments_audit_delete after delete on payments
    for each row execute function write_audit('metadata', 'failure_message', 'customer_ref', 'email', 'user_id');

create trigger gateway_customers_audit_insert after insert on gateway_customers
    for each row execute function write_audit('email', 'name', 'phone', 'user_id', 'metadata');
create trigger gateway_customers_audit_update after update on gateway_customers
    for each row when (old.* is distinct from new.*)
    execute function write_audit('email', 'name', 'phone', 'user_id', 'metadata');
create trigger gateway_customers_audit_delete after delete on gateway_customers
    for each row execute function write_audit('email', 'name', 'phone', 'user_id', 'metadata');

create trigger subscriptions_audit_insert after insert on subscriptions
    for each row execute function write_audit('email', 'user_id', 'metadata', 'customer_ref', 'cancel_reason');
create trigger subscriptions_audit_update after update on subscriptions
    for each row when (old.* is distinct from new.*)
    execute function write_audit('email', 'user_id', 'metadata', 'customer_ref', 'cancel_reason');
create trigger subscriptions_audit_delete after delete on subscriptions
    for each row execute function write_audit('email', 'user_id', 'metadata', 'customer_ref', 'cancel_reason');

create trigger invoices_audit_insert after insert on invoices
    for each row execute function write_audit('email', 'customer_ref', 'description', 'lines', 'metadata');
create trigger invoices_audit_update after update on invoices
    for each row when (old.* is distinct from new.*)
    execute function write_audit('email', 'customer_ref', 'description', 'lines', 'metadata');
create trigger invoices_audit_delete after delete on invoices
    for each row execute function write_audit('email', 'customer_ref', 'description', 'lines', 'metadata');

create trigger refunds_audit_insert after insert on refunds
    for each row execute function write_audit('reason', 'failure_message', 'metadata');
create trigger refunds_audit_update after update on refunds
    for each row when (old.* is distinct from new.*)
    execute function write_audit('reason', 'failure_message', 'metadata');
create trigger refunds_audit_delete after delete on refunds
    for each row execute function write_audit('reason', 'failure_message', 'metadata');

create trigger disputes_audit_insert after insert on disputes
    for each row execute function write_audit();
create trigger disputes_audit_update after update on disputes
    for each row when (old.* is distinct from new.*)
    execute function write_audit();
create trigger disputes_audit_delete after delete on disputes
    for each row execute function write_audit();

create trigger payouts_audit_insert after insert on payouts
    for each row execute function write_audit('failure_message', 'metadata');
create trigger payouts_audit_update after update on payouts
    for each row when (old.* is distinct from new.*)
    execute function write_audit('failure_message', 'metadata');
create trigger payouts_audit_delete after delete on payouts
    for each row execute function write_audit('failure_message', 'metadata');

-- migrate: down

drop trigger gateway_customers_audit_insert on gateway_customers;
drop trigger gateway_customers_audit_update on gateway_customers;
drop trigger gateway_customers_audit_delete on gateway_customers;
drop trigger subscriptions_audit_insert on subscriptions;
drop trigger subscriptions_audit_update on subscriptions;
drop trigger subscriptions_audit_delete on subscriptions;
drop trigger invoices_audit_insert on invoices;
drop trigger invoices_audit_update on invoices;
drop trigger invoices_audit_delete on invoices;
drop trigger refunds_audit_insert on refunds;
drop trigger refunds_audit_update on refunds;
drop trigger refunds_audit_delete on refunds;
drop trigger disputes_audit_insert on disputes;
drop trigger disputes_audit_update on disputes;
drop trigger disputes_audit_delete on disputes;
drop trigger payouts_audit_insert on payouts;
drop trigger payouts_audit_update on payouts;
drop trigger payouts_audit_delete on payouts;
drop trigger payments_audit_insert on payments;
drop trigger payments_audit_update on payments;
drop trigger payments_audit_delete on payments;
create trigger payments_audit_insert after insert on payments
    for each row execute function write_audit('metadata', 'failure_message', 'customer_ref');
create trigger payments_audit_update after update on payments
    for each row when (old.* is distinct from new.*)
    execute function write_audit('metadata', 'failure_message', 'customer_ref');
create trigger payments_audit_delete after delete on payments
    for each row execute function write_audit('metadata', 'failure_message', 'customer_ref');
