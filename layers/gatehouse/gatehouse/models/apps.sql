-- The merchants' apps, and what belongs to them.

-- name: lock_merchant
-- Lets one change of a merchant's apps at a time through.
select id from merchants where id = :merchant::text for update;

-- name: apps_of
-- A merchant's apps.
select name, is_default, plans from apps where merchant = :merchant::text order by name;

-- name: give_up_default
-- Takes the default away from an app.
update apps set is_default = false where merchant = :merchant::text and name = :name::text;

-- name: put_app
-- Adds an app; one that is there takes the plans in addition, and the default when it is given.
insert into apps as held (merchant, name, plans, is_default)
values (:merchant::text, :name::text, :plans::text[], :is_default::boolean)
on conflict (merchant, name) do update set
    plans = array(select distinct plan from unnest(held.plans || excluded.plans) as plan order by plan),
    is_default = held.is_default or excluded.is_default
returning name, is_default, plans;

-- name: make_app_view
-- Makes the app's view unless it is there.
select make_app_view(:name::text) as view_name;

-- name: accounts_of
-- Where a merchant's events come from, as far as the database knows.
select gateway, account from gateway_accounts where merchant = :merchant::text order by gateway, account;

-- name: list_apps
-- All apps, also those that events name and nobody added, with their users and what happened in 30 days.
with recursive named_by_events as (
    (select merchant, app from app_transactions where app is not null order by merchant, app limit 1)
    union all
    select following.merchant, following.app
    from named_by_events n
    cross join lateral (
        select merchant, app from app_transactions
        where (merchant, app) > (n.merchant, n.app)
        order by merchant, app limit 1
    ) as following
),
known as (
    select merchant, name, is_default, plans, true as is_added from apps
    union all
    select n.merchant, n.app, false, '{}', false
    from named_by_events n
    where not exists (select from apps a where a.merchant = n.merchant and a.name = n.app)
),
users as (
    select merchant, app, count(*) as users from app_users group by merchant, app
)
select k.merchant, k.name, k.is_default, k.plans, k.is_added, coalesce(u.users, 0) as users,
    (select count(*) from app_transactions t
     where t.merchant = k.merchant and t.app = k.name and t.created_at > now() - interval '30 days') as transactions
from known k
left join users u on u.merchant = k.merchant and u.app = k.name
order by k.merchant, k.name;

-- name: users_of
-- An app's users with what they have now, in order of their ids; `after` is the last one of the page before.
select user_id, plan, status, amount_minor, currency, said_by, gateway, account, object_id, since, last_fact_at, livemode
from app_users
where merchant = :merchant::text and app = :name::text and (:after::text is null or user_id > :after::text)
order by user_id
limit :most::integer;
