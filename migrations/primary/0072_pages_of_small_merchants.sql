-- Events and deliveries of one merchant are found by indexes of his own: among millions of others, a page of a small
-- merchant was a walk through all of them.
-- migrate: no-transaction
-- migrate: up

-- A merchant's newest events, of all gateways or of one.
create index concurrently webhook_events_newest on webhook_events (merchant, gateway, id desc);
-- The few that were not applied, by what became of them.
create index concurrently webhook_events_of_status on webhook_events (merchant, status, id desc)
    where status <> 'applied';
create index concurrently webhook_events_of_type on webhook_events (type, merchant, id desc);
create index concurrently webhook_forward_logs_newest on webhook_forward_logs (merchant, id desc);
create index concurrently webhook_forward_logs_not_ok on webhook_forward_logs (merchant, id desc) where not ok;
-- What happened to them in the last day or week.
create index concurrently webhook_forward_logs_lately on webhook_forward_logs (merchant, created_at desc);

-- migrate: down

drop index concurrently if exists webhook_forward_logs_lately;
drop index concurrently if exists webhook_forward_logs_not_ok;
drop index concurrently if exists webhook_forward_logs_newest;
drop index concurrently if exists webhook_events_of_type;
drop index concurrently if exists webhook_events_of_status;
drop index concurrently if exists webhook_events_newest;
