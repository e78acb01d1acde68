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
    body jsonb,  -- null once a person in it was erased
    created_at timestamptz not null default now(),
    primary key (key_id, merchant, idempotency_key)
);

create index api_answers_created on api_answers (created_at);

alter table api_answers enable row level security, force row level security;
create policy own_merchant on api_answers to gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on api_answers to gatehouse_worker, gatehouse_ops, current_user using (true);

grant select, insert on api_answers to gatehouse_api;
-- Kept for a day, then swept.
grant select, delete on api_answers to gatehouse_worker, gatehouse_ops;

-- Whoever is erased is erased here too. That the deed was done must stay known, or a repetition would do it again.
create function erase_answers() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    update api_answers a set body = null
    where a.merchant = new.merchant and exists (
        select from (
            select jsonb_path_query(a.body, '$.**.email') as said
            union
            select jsonb_path_query(a.body, '$.**.attendee_email')
        ) as addresses
        where jsonb_typeof(said) = 'string' and erasure_hash(lower(said #>> '{}')) = new.said_hash);
    update api_answers a set body = a.body || '{"reason": null}' where a.merchant = new.merchant and a.body ? 'reason';
    return null;
end
$$;

create trigger erase_answers after insert or update on erased_customers
    for each row when (new.what = 'email') execute function erase_answers();

revoke execute on function erase_answers() from public;

-- migrate: down

drop trigger erase_answers on erased_customers;
drop function erase_answers();
drop table api_answers;
