-- What stands in the way of asking a gateway's API for an account: its credentials are refused, or the API fails. Until it
-- is asked again, the account's jobs wait without a try, so that they burn nothing and hold up no other account.
-- migrate: up

-- Of default accounts too, which have no row in gateway_accounts. No row: the account is well.
create table gateway_troubles (
    gateway text not null,
    account text not null,
    merchant text not null,
    kind text not null check (kind in ('refused', 'failing')),
    reason text not null,
    credentials_mark text not null,  -- a keyless hash of the credentials that were refused: others are tried at once
    failures integer not null default 1,  -- in a row
    began_at timestamptz not null default now(),
    asked_again_at timestamptz not null,
    primary key (gateway, account)
);

alter table gateway_troubles enable row level security, force row level security;
create policy own_merchant on gateway_troubles to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on gateway_troubles to gatehouse_worker, gatehouse_ops, current_user using (true);
grant select, insert, update, delete on gateway_troubles to gatehouse_worker, gatehouse_ops;
grant select on gateway_troubles to gatehouse_api;

-- The jobs that somebody works on, by merchant: how many are one merchant's.
create index jobs_leased on jobs (merchant) where status = 'leased';

-- New credentials end the trouble, and what has waited for them goes on: the sweeper rings for it.
create function forget_trouble() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    delete from gateway_troubles where gateway = new.gateway and account = new.account;
    if found then
        update jobs set due_at = now(), ring_after = now()
        where status = 'waiting' and ring_after > now() and topic in ('refetch', 'fetch_fee')
          and arguments ->> 'gateway' = new.gateway and arguments ->> 'account' = new.account;
    end if;
    return null;
end
$$;

create trigger forget_trouble after update of credentials on gateway_accounts
    for each row when (old.credentials is distinct from new.credentials) execute function forget_trouble();
revoke execute on function forget_trouble() from public;

-- migrate: down

drop trigger forget_trouble on gateway_accounts;
drop function forget_trouble();
drop index jobs_leased;
drop table gateway_troubles;
