-- Every event once, for ever (slim), and its exact bytes, sealed, for as long as retention says.
-- migrate: up

create table webhook_events (
    id bigint generated always as identity primary key,
    gateway text not null,
    account text not null,
    event_id text not null,
    merchant text not null,
    type text not null,
    livemode boolean not null,
    occurred_at timestamptz,  -- by the gateway's clock; null where the gateway does not say
    received_at timestamptz not null,
    status text not null check (status in ('received', 'applied', 'ignored', 'failed')),
    reason text check (status in ('applied', 'received') or reason is not null),
    attempts integer not null default 1,
    reference text,
    -- Which of the account's secrets signed it, by fingerprint: so it shows when an old one is not used any more.
    signed_by text,
    -- The gateway's id comes first, so that ops find an event by its id alone.
    unique (event_id, gateway, account)
);

-- What needs a look: few rows, so a partial index.
create index webhook_events_failed on webhook_events (received_at) where status = 'failed';
-- Rows lie in the order of their arrival, so a block range index finds a time at next to no cost per event.
create index webhook_events_received on webhook_events using brin (received_at);
create index webhook_events_reference on webhook_events (reference) where reference is not null;

create table webhook_payloads (
    webhook_event_id bigint not null,
    merchant text not null,
    received_at timestamptz not null,
    key_id text not null,
    sealed bytea not null,
    primary key (webhook_event_id, received_at)
) partition by range (received_at);

create table webhook_payloads_default partition of webhook_payloads default;

-- Makes the monthly partitions of webhook_payloads from this month to some months ahead; safe to run at any time.
-- A month whose first rows already fell into the default partition is left there: it is dropped with that one later.
create function make_payload_partitions(months_ahead integer) returns integer
language plpgsql security definer set search_path = public, pg_temp
-- A new partition needs the table alone. Whoever waits for that holds up every recording behind it: so not for long.
set lock_timeout = '1s' as $$
declare
    this_month date := date_trunc('month', now() at time zone 'utc');
    month date;
    made integer := 0;
begin
    for ahead in 0 .. months_ahead loop
        month := this_month + make_interval(months => ahead);
        continue when to_regclass('webhook_payloads_' || to_char(month, 'YYYY_MM')) is not null
            or exists (
                select from webhook_payloads_default
                where received_at >= month::timestamp at time zone 'utc'
                  and received_at < (month + interval '1 month') at time zone 'utc'
            );
        execute format(
            'create table %I partition of webhook_payloads for values from (%L) to (%L)',
            'webhook_payloads_' || to_char(month, 'YYYY_MM'),
            month::text || ' 00:00:00+00',
            (month + interval '1 month')::date::text || ' 00:00:00+00'
        );
        made := made + 1;
    end loop;
    return made;
end
$$;

revoke execute on function make_payload_partitions(integer) from public;
grant execute on function make_payload_partitions(integer) to gatehouse_worker, gatehouse_ops;

select make_payload_partitions(2);

alter table webhook_events enable row level security, force row level security;
create policy own_merchant on webhook_events to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on webhook_events to gatehouse_worker, gatehouse_ops, current_user using (true);

alter table webhook_payloads enable row level security, force row level security;
create policy own_merchant on webhook_payloads to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on webhook_payloads to gatehouse_worker, gatehouse_ops, current_user using (true);

grant select, insert on webhook_events to gatehouse_intake, gatehouse_worker;
grant select on webhook_events to gatehouse_api;
grant select, insert, update on webhook_events to gatehouse_ops;
grant insert on webhook_payloads to gatehouse_intake;
grant select, insert on webhook_payloads to gatehouse_worker, gatehouse_ops;

-- migrate: down

drop function make_payload_partitions(integer);
drop table webhook_payloads;
drop table webhook_events;
