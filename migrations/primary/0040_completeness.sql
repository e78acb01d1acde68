-- How much of what a gateway lists for a day is recorded here, by account and day.
-- migrate: up

create table completeness (
    gateway text not null,
    account text not null,
    day date not null,  -- UTC
    merchant text not null references merchants (id),
    listed integer not null check (listed >= 0),
    recorded integer not null check (recorded between 0 and listed),  -- when it was compared; the rest was asked for then
    found_missing integer not null default 0,  -- in all comparisons of this day together
    checks integer not null default 1,
    checked_at timestamptz not null default now(),
    primary key (gateway, account, day)
);
create index completeness_newest on completeness (merchant, day desc, gateway, account);
create index completeness_missing on completeness (day desc) where recorded < listed;
alter table completeness enable row level security, force row level security;
create policy all_merchants on completeness to current_user, gatehouse_ops, gatehouse_worker using (true);
create policy own_merchant on completeness to gatehouse_api, gatehouse_intake
    using (merchant = current_setting('gatehouse.merchant', true));
grant select, insert, update on completeness to gatehouse_worker;
grant select on completeness to gatehouse_ops, gatehouse_api;

-- migrate: down

drop table completeness;
