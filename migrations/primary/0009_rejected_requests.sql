-- Requests that were turned away at the door, kept for a while: so that a wrong secret shows before money is missed.
-- migrate: up

create table rejected_requests (
    id bigint generated always as identity primary key,
    received_at timestamptz not null,
    gateway text not null,
    account text not null,
    code text not null,
    reason text not null,
    -- Names as they came; values that could be a signature or a token are masked. Never the body.
    headers jsonb not null,
    body_bytes integer not null,
    source_ip text not null,
    request_id text not null
);

create index rejected_requests_received on rejected_requests (received_at);

grant insert on rejected_requests to gatehouse_intake;
grant select, delete on rejected_requests to gatehouse_worker, gatehouse_ops;

-- So that the health page of every role can say how far the schema is.
grant select on gatehouse_migrations to gatehouse_intake, gatehouse_worker, gatehouse_api, gatehouse_ops;

-- migrate: down

revoke select on gatehouse_migrations from gatehouse_intake, gatehouse_worker, gatehouse_api, gatehouse_ops;
drop table rejected_requests;
