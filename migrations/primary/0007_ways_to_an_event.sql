-- The indexes by which ops find what an event changed and what work it left.
-- migrate: up

create index payment_audit_log_event on payment_audit_log (webhook_event_id) where webhook_event_id is not null;
create index jobs_event on jobs (webhook_event_id) where webhook_event_id is not null;

-- migrate: down

drop index jobs_event;
drop index payment_audit_log_event;
