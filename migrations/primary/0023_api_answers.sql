-- What the API answered to a write that came with an Idempotency-Key, so that its repetition gets the same answer.
-- migrate: up

-- Written in the transaction of the write itself: there is an answer exactly where there is its deed.
create table api_answers (
    key_id text not null references api_keys (id),
    merchant text not null,
    idempotency_key text not null,
    -- Of method, path and body: the same key with another request is a mistake of the caller.
    request_hash bytea not null,
    status smallint not null,
    body jsonb not null,
    created_at timestamptz not null default now(),
    primary key (key_id, merchant, idempotency_key)
);

create index api_answers_created on api_answers (created_at);

alter table api_answers enable row level security, force row level security;
create policy own_merchant on api_answers to gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on api_answers to gatehouse_worker, gatehouse_ops, current_user using (true);

grant select, insert on api_answers to gatehouse_api;
-- Kept for a day, then swept; ops remove those of a customer who is to be forgotten.
grant select, delete on api_answers to gatehouse_worker, gatehouse_ops;

-- migrate: down

drop table api_answers;
