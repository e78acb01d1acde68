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

-- name: look_for_apps
-- Apps by merchant, those with a text in name or merchant, from the one behind `after` on. Users and events are counted up
-- to a bound: of an app with more it is enough to know that, and counting all would read all of them.
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
shown as (
    select * from known
    where (:text::text is null or position(lower(:text::text) in lower(merchant || ' ' || name)) > 0)
      and (:after_merchant::text is null or (merchant, name) > (:after_merchant::text, :after_name::text))
    order by merchant, name
    limit :most::integer
)
select s.merchant, s.name, s.is_default, s.plans, s.is_added,
    (select count(*) from (
        select user_id from (
            select distinct user_id from subscriptions u
            where u.merchant = s.merchant and u.app = s.name and u.user_id is not null
            limit :counted::integer
        ) as subscribed
        union
        select user_id from (
            select distinct user_id from payments p
            where p.merchant = s.merchant and p.app = s.name and p.user_id is not null and p.plan is not null
              and p.merged_into is null and p.status in ('completed', 'partially_refunded', 'refunded')
            limit :counted::integer
        ) as paid
        limit :counted::integer
    ) as counted) as users,
    (select count(*) from (
        select from app_transactions t
        where t.merchant = s.merchant and t.app = s.name and t.created_at > now() - interval '30 days'
        limit :counted::integer
    ) as counted) as transactions
from shown s
order by s.merchant, s.name;

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
