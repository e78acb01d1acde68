-- The indexes by which what waits for an app, or was given up, is found; built beside the traffic, as jobs may be many.
-- migrate: no-transaction
-- migrate: up

create index concurrently jobs_forwards on jobs (merchant, (arguments ->> 'app'), id)
    where topic = 'forward' and status <> 'done';
create index concurrently jobs_redrive on jobs (redrive_id) where redrive_id is not null;

-- migrate: down

drop index concurrently if exists jobs_redrive;
drop index concurrently if exists jobs_forwards;
