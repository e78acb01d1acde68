-- Who is a member of which product line: one row a patient and category, made from the patient's recurring payments by the
-- rule in docs/memberships.md, whatever the order in which they came.
-- migrate: up

create table memberships (
    id bigint generated always as identity primary key,
    merchant text not null references merchants (id),
    gateway text not null,
    account text not null,
    customer_ref text not null,
    livemode boolean not null,
    category text not null,
    -- What the gateway says of the patient.
    name text,
    email text,
    -- What the payments say.
    product_name text,
    status_by_rule text not null check (status_by_rule in ('active', 'paused', 'canceled', 'past_due')),
    started_at timestamptz,
    last_payment_at timestamptz,
    next_expected_at timestamptz,
    renews_every text,
    amount_minor bigint check (amount_minor >= 0),
    currency text check (currency ~ '^[A-Z]{3}$'),
    payment_count integer not null default 0,
    renewal_missed_at timestamptz,
    -- What a person says.
    status_by_hand text check (status_by_hand in ('active', 'paused', 'canceled', 'past_due')),
    status_reason text,
    status_set_by text,
    status_set_at timestamptz,
    google_review_submitted boolean not null default false,
    referral_source text check (length(referral_source) between 1 and 200),
    fulfillment_type text check (length(fulfillment_type) between 1 and 100),
    status text not null generated always as (coalesce(status_by_hand, status_by_rule)) stored,
    name_key text collate "C" not null generated always as (lower(coalesce(name, customer_ref))) stored,
    search tsvector not null generated always as (
        search_words(merchant, array[name, customer_ref, email, product_name])) stored,
    version integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check ((status_by_hand is null) = (status_set_at is null) and (status_by_hand is null) = (status_set_by is null))
);

comment on column memberships.customer_ref is 'the patient: the gateway''s code of the customer, in one of its accounts';
comment on column memberships.status is 'what a person said, until that is released; else what the payments say';
comment on column memberships.next_expected_at is
    'by the subscription or contract, else by the interval at which payments were seen; null where neither says';
comment on column memberships.renewal_missed_at is 'when the renewal was expected that did not come; a job notes it';
comment on column memberships.amount_minor is 'of the last payment, without its surcharge';

create unique index memberships_patient on memberships (merchant, gateway, account, customer_ref, category, livemode);
create index memberships_name on memberships (merchant, name_key, id);
create index memberships_category_name on memberships (merchant, category, name_key, id);
create index memberships_status_name on memberships (merchant, status, name_key, id);
create index memberships_started on memberships (merchant, coalesce(started_at, '-infinity') desc, id desc);
create index memberships_paid on memberships (merchant, coalesce(last_payment_at, '-infinity') desc, id desc);
create index memberships_expected on memberships (merchant, coalesce(next_expected_at, 'infinity'), id);
create index memberships_missed on memberships (merchant, name_key, id) where renewal_missed_at is not null;
create index memberships_counted on memberships (merchant, category, status, livemode) include (renewal_missed_at);
create index memberships_due on memberships (next_expected_at)
    where renewal_missed_at is null and status in ('active', 'past_due');
create index memberships_search on memberships using gin (search) with (fastupdate = off);

alter table memberships enable row level security, force row level security;
create policy own_merchant on memberships to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on memberships to gatehouse_worker, gatehouse_ops, current_user using (true);
-- Written by functions alone.
grant select on memberships to gatehouse_api, gatehouse_worker, gatehouse_ops;

create trigger memberships_audit_insert after insert on memberships
    for each row execute function write_audit(
        'customer_ref', 'name', 'name_key', 'email', 'product_name', 'search', 'status_reason', 'referral_source');
create trigger memberships_audit_update after update on memberships
    for each row when (old.* is distinct from new.*) execute function write_audit(
        'customer_ref', 'name', 'name_key', 'email', 'product_name', 'search', 'status_reason', 'referral_source');
create trigger memberships_audit_delete after delete on memberships
    for each row execute function write_audit(
        'customer_ref', 'name', 'name_key', 'email', 'product_name', 'search', 'status_reason', 'referral_source');

-- Reads an interval as gateways and we write it ("month", "3 month", "quarter"); null for anything else.
create function interval_of(p_said text) returns interval
language sql immutable as $$
    select case
        when p_said ~ '^([1-9]\d{0,2} )?(day|week|month|quarter|half_year|year)$'
        then coalesce(substring(p_said from '^\d+')::integer, 1) * case substring(p_said from '[a-z_]+$')
            when 'quarter' then interval '3 months'
            when 'half_year' then interval '6 months'
            else ('1 ' || substring(p_said from '[a-z_]+$'))::interval
        end
    end
$$;

-- Says at which interval payments come that lie so many days apart as a rule.
create function interval_seen(p_days double precision) returns text
language sql immutable as $$
    select case
        when p_days is null or p_days < 1 then null
        when p_days between 6 and 8 then 'week'
        when p_days between 13 and 15 then '2 week'
        when p_days between 27 and 33 then 'month'
        when p_days between 55 and 66 then '2 month'
        when p_days between 84 and 98 then '3 month'
        when p_days between 170 and 196 then '6 month'
        when p_days between 350 and 380 then 'year'
        when p_days > 900 then null
        else round(p_days)::integer || ' day'
    end
$$;

-- What the payments and subscriptions of one patient come to: the rule. It reads rows and depends on nothing else, and
-- on no number that we gave, so that it is the same however they came.
create function memberships_of_patient(p_merchant text, p_gateway text, p_account text, p_customer_ref text)
returns table (
    category text, livemode boolean, email text, invoice_name text, product_name text, status text,
    started_at timestamptz, last_payment_at timestamptz, next_expected_at timestamptz, renews_every text,
    amount_minor bigint, currency text, payment_count integer
)
language plpgsql stable as $$
#variable_conflict use_column
begin
    return query
    with paid as (
        select
            p.product_category as category, p.livemode, p.product_name as product, p.email as said_email, p.currency,
            p.amount_minor - coalesce(p.surcharge_minor, 0) as price_minor, i.customer_name as invoice_name,
            p.status in ('completed', 'partially_refunded', 'refunded') as came_in,
            p.status = 'refunded' as went_back,
            p.status = 'failed' or (p.status = 'cancelled' and p.completed_at is not null) as failed,
            coalesce(p.completed_at, p.first_fact_at) as at,
            coalesce(p.subscription_ref, i.subscription_ref) as subscription_ref
        from payments p
        left join lateral (
            select i.customer_name, i.subscription_ref from invoices i
            where i.gateway = p.gateway and i.account = p.account and i.gateway_id = p.invoice_ref
            order by i.id limit 1
        ) as i on true
        where p.merchant = p_merchant and p.customer_ref = p_customer_ref and p.gateway = p_gateway
          and p.account = p_account and p.is_recurring and p.merged_into is null and p.product_category is not null
    ), tried as (
        select *, row_number() over newest as place
        from paid where came_in or failed
        window newest as (
            partition by paid.category, paid.livemode
            order by at desc, came_in desc, went_back, price_minor desc nulls last, product nulls last)
    ), days as (
        select distinct t.category, t.livemode, (t.at at time zone 'utc')::date as day from tried t where t.came_in
    ), gaps as (
        select g.category, g.livemode, percentile_disc(0.5) within group (order by g.gap)::double precision as usual
        from (
            select d.category, d.livemode, d.day - lag(d.day) over (partition by d.category, d.livemode order by d.day) as gap
            from days d
        ) as g
        where g.gap is not null
        group by g.category, g.livemode
    ), summed as (
        select
            t.category, t.livemode,
            (array_agg(t.said_email order by t.place) filter (where t.said_email is not null))[1] as email,
            (array_agg(t.invoice_name order by t.place) filter (where t.invoice_name is not null))[1] as invoice_name,
            (array_agg(t.product order by t.came_in and not t.went_back desc, t.place))[1] as product,
            bool_or(t.failed) filter (where t.place = 1) as has_failed_last,
            min(t.at) filter (where t.came_in) as first_at,
            max(t.at) filter (where t.came_in) as newest_at,
            max(t.at) filter (where t.came_in and not t.went_back) as last_at,
            (array_agg(t.price_minor order by t.place) filter (where t.came_in and not t.went_back))[1] as price_minor,
            (array_agg(t.currency order by t.place) filter (where t.came_in and not t.went_back))[1] as currency,
            count(*) filter (where t.came_in)::integer as payment_count
        from tried t group by t.category, t.livemode
    ), asked as (
        -- Of several subscriptions the newest that lives speaks; where none lives, the newest.
        select distinct on (t.category, t.livemode)
            t.category, t.livemode, s.status, s.interval as every, s.next_payment_at, s.cancel_at, s.started_at,
            coalesce(s.ended_at, s.last_fact_at) as ended_at
        from (select distinct tried.category, tried.livemode, tried.subscription_ref from tried) as t
        join subscriptions s on s.gateway = p_gateway and s.account = p_account and s.gateway_id = t.subscription_ref
        where s.merchant = p_merchant
        order by t.category, t.livemode, s.status in ('cancelled', 'expired'), s.status = 'paused',
            coalesce(s.started_at, s.first_fact_at) desc, s.gateway_id
    ), judged as (
        select
            m.*, a.every, a.next_payment_at, a.cancel_at, a.status as said, a.started_at as said_started,
            case
                when a.status = 'paused' then 'paused'
                when a.status in ('cancelled', 'expired') and (m.newest_at is null or m.newest_at <= a.ended_at)
                    then 'canceled'
                when a.status = 'past_due' then 'past_due'
                when m.has_failed_last then 'past_due'
                else 'active'
            end as judgement,
            coalesce(case when interval_of(a.every) is not null then a.every end, interval_seen(g.usual)) as known_every
        from summed m
        left join asked a on a.category = m.category and a.livemode = m.livemode
        left join gaps g on g.category = m.category and g.livemode = m.livemode
    )
    select
        j.category, j.livemode, j.email, j.invoice_name, j.product, j.judgement, least(j.first_at, j.said_started),
        j.last_at,
        case
            when j.judgement in ('canceled', 'paused') or j.said = 'non_renewing' then null
            when j.cancel_at <= coalesce(j.next_payment_at, j.one_later) then null
            when j.said in ('pending', 'trialing', 'active', 'past_due')
                and (j.newest_at is null or j.next_payment_at > j.newest_at) then j.next_payment_at
            else j.one_later
        end,
        j.known_every, j.price_minor, j.currency, j.payment_count
    from (
        -- A month is one of UTC, whatever the time zone of the session.
        select *, ((newest_at at time zone 'utc') + interval_of(known_every)) at time zone 'utc' as one_later from judged
    ) as j;
end
$$;

-- Makes the memberships of one patient anew. The patient is locked first, and read in a later statement: so of two whose
-- payments come at once, the later one sees the other's. Where payments have moved from one category to another and the
-- first is left empty, what people have noted there moves along; a row with nothing left in it goes.
create function refresh_patient(
    p_merchant text, p_gateway text, p_account text, p_customer_ref text, p_from text default null,
    p_to text default null
) returns integer
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    known record;
    told record;
    empty_one memberships;
    changed integer := 0;
    kept bigint[] := '{}';
    this_id bigint;
begin
    perform lock_name(p_gateway, p_account, 'patient', p_customer_ref);
    select c.name, c.email into told
    from gateway_customers c
    where c.gateway = p_gateway and c.account = p_account and c.gateway_id = p_customer_ref and c.merchant = p_merchant
    order by c.id limit 1;
    for known in
        select * from memberships_of_patient(p_merchant, p_gateway, p_account, p_customer_ref) order by category, livemode
    loop
        -- One that has moved whole keeps its row.
        if p_from is not null and known.category = p_to then
            update memberships m set category = p_to, version = m.version + 1, updated_at = now()
            where m.merchant = p_merchant and m.gateway = p_gateway and m.account = p_account
              and m.customer_ref = p_customer_ref and m.livemode = known.livemode and m.category = p_from
              and not exists (
                  select from memberships_of_patient(p_merchant, p_gateway, p_account, p_customer_ref) as still
                  where still.category = p_from and still.livemode = m.livemode)
              and not exists (
                  select from memberships there
                  where there.merchant = p_merchant and there.gateway = p_gateway and there.account = p_account
                    and there.customer_ref = p_customer_ref and there.livemode = m.livemode
                    and there.category = p_to);
        end if;
        this_id := null;
        insert into memberships as held (
            merchant, gateway, account, customer_ref, livemode, category, name, email, product_name, status_by_rule,
            started_at, last_payment_at, next_expected_at, renews_every, amount_minor, currency, payment_count
        ) values (
            p_merchant, p_gateway, p_account, p_customer_ref, known.livemode, known.category,
            coalesce(told.name, known.invoice_name), coalesce(told.email, known.email), known.product_name,
            known.status, known.started_at, known.last_payment_at, known.next_expected_at, known.renews_every,
            known.amount_minor, known.currency, known.payment_count
        )
        on conflict (merchant, gateway, account, customer_ref, category, livemode) do update set
            name = excluded.name, email = excluded.email, product_name = excluded.product_name,
            status_by_rule = excluded.status_by_rule, started_at = excluded.started_at,
            last_payment_at = excluded.last_payment_at, next_expected_at = excluded.next_expected_at,
            renews_every = excluded.renews_every, amount_minor = excluded.amount_minor, currency = excluded.currency,
            payment_count = excluded.payment_count,
            -- What was missed is missed until the next renewal is another one.
            renewal_missed_at = case
                when held.renewal_missed_at = excluded.next_expected_at then held.renewal_missed_at end,
            version = held.version + 1, updated_at = now()
        where (
            held.name, held.email, held.product_name, held.status_by_rule, held.started_at, held.last_payment_at,
            held.next_expected_at, held.renews_every, held.amount_minor, held.currency, held.payment_count
        ) is distinct from (
            excluded.name, excluded.email, excluded.product_name, excluded.status_by_rule, excluded.started_at,
            excluded.last_payment_at, excluded.next_expected_at, excluded.renews_every, excluded.amount_minor,
            excluded.currency, excluded.payment_count
        )
        returning held.id into this_id;
        if this_id is null then
            select m.id into this_id from memberships m
            where m.merchant = p_merchant and m.gateway = p_gateway and m.account = p_account
              and m.customer_ref = p_customer_ref and m.livemode = known.livemode and m.category = known.category;
        else
            changed := changed + 1;
        end if;
        kept := kept || this_id;
    end loop;
    for empty_one in
        select * from memberships m
        where m.merchant = p_merchant and m.gateway = p_gateway and m.account = p_account
          and m.customer_ref = p_customer_ref and m.id <> all (kept)
        order by m.id
    loop
        update memberships m set
            google_review_submitted = m.google_review_submitted or empty_one.google_review_submitted,
            referral_source = coalesce(m.referral_source, empty_one.referral_source),
            fulfillment_type = coalesce(m.fulfillment_type, empty_one.fulfillment_type),
            status_by_hand = coalesce(m.status_by_hand, empty_one.status_by_hand),
            status_reason = case when m.status_by_hand is null then empty_one.status_reason else m.status_reason end,
            status_set_by = coalesce(m.status_set_by, empty_one.status_set_by),
            status_set_at = coalesce(m.status_set_at, empty_one.status_set_at),
            version = m.version + 1, updated_at = now()
        where empty_one.category = p_from and m.category = p_to and m.livemode = empty_one.livemode
          and m.id = any (kept)
          and (empty_one.google_review_submitted or num_nonnulls(
              empty_one.referral_source, empty_one.fulfillment_type, empty_one.status_by_hand) > 0);
        if found or not (empty_one.google_review_submitted or num_nonnulls(
            empty_one.referral_source, empty_one.fulfillment_type, empty_one.status_by_hand) > 0)
        then
            delete from memberships m where m.id = empty_one.id;
            changed := changed + 1;
        elsif empty_one.payment_count > 0 then
            -- People have noted something here: it stays, without what its payments said.
            update memberships m set
                last_payment_at = null, next_expected_at = null, renewal_missed_at = null, amount_minor = null,
                currency = null, payment_count = 0, version = m.version + 1, updated_at = now()
            where m.id = empty_one.id;
            changed := changed + 1;
        end if;
    end loop;
    return changed;
end
$$;

-- Follows a recurring payment to its patient: the one that it is of, and the one that it was of.
create function follow_recurring_payment() returns trigger
language plpgsql as $$
declare
    has_moved boolean := false;
begin
    if coalesce(current_setting('gatehouse.memberships', true), '') = 'later' then
        return null;  -- whoever said so makes them anew at its end
    end if;
    if tg_op = 'UPDATE' and old.customer_ref is not null then
        has_moved := old.customer_ref is distinct from new.customer_ref;
        if has_moved then
            if old.customer_ref < new.customer_ref then  -- in one order, so that nobody waits for anybody in a ring
                perform lock_name(new.gateway, new.account, 'patient', old.customer_ref);
                perform lock_name(new.gateway, new.account, 'patient', new.customer_ref);
            end if;
        end if;
    end if;
    if new.customer_ref is not null then
        if tg_op = 'UPDATE' and not has_moved then
            perform refresh_patient(
                new.merchant, new.gateway, new.account, new.customer_ref, old.product_category, new.product_category);
        else
            perform refresh_patient(new.merchant, new.gateway, new.account, new.customer_ref);
        end if;
    end if;
    if has_moved then
        perform refresh_patient(old.merchant, old.gateway, old.account, old.customer_ref);
    end if;
    return null;
end
$$;

create trigger follow_recurring_payment_insert after insert on payments
    for each row when (new.is_recurring and new.customer_ref is not null)
    execute function follow_recurring_payment();
create trigger follow_recurring_payment_update after update on payments
    for each row when (
        (old.is_recurring or new.is_recurring) and (
            old.status is distinct from new.status or old.product_category is distinct from new.product_category
            or old.customer_ref is distinct from new.customer_ref or old.completed_at is distinct from new.completed_at
            or old.amount_minor is distinct from new.amount_minor or old.currency is distinct from new.currency
            or old.surcharge_minor is distinct from new.surcharge_minor
            or old.product_name is distinct from new.product_name
            or old.first_fact_at is distinct from new.first_fact_at
            or old.merged_into is distinct from new.merged_into or old.livemode is distinct from new.livemode
            or old.subscription_ref is distinct from new.subscription_ref or old.email is distinct from new.email
            or old.is_recurring is distinct from new.is_recurring))
    execute function follow_recurring_payment();

-- Follows a subscription to the patients whose payments it asked for.
create function follow_membership_of_subscription() returns trigger
language plpgsql as $$
declare
    patient record;
begin
    for patient in
        select distinct p.merchant, p.customer_ref
        from (
            select p.merchant, p.customer_ref from payments p
            where p.gateway = new.gateway and p.account = new.account and p.subscription_ref = new.gateway_id
              and p.is_recurring and p.customer_ref is not null
            union all
            select p.merchant, p.customer_ref
            from invoices i
            join payments p on p.gateway = i.gateway and p.account = i.account and p.invoice_ref = i.gateway_id
            where i.gateway = new.gateway and i.account = new.account and i.subscription_ref = new.gateway_id
              and p.is_recurring and p.customer_ref is not null
        ) as p
        order by p.customer_ref
    loop
        perform refresh_patient(patient.merchant, new.gateway, new.account, patient.customer_ref);
    end loop;
    return null;
end
$$;

-- A payment that is recorded at the same moment waits for the name of its subscription (classify_payment), which whoever
-- records that subscription holds; so here nothing more is locked.
create trigger follow_membership_insert after insert on subscriptions
    for each row execute function follow_membership_of_subscription();
create trigger follow_membership_update after update on subscriptions
    for each row when (
        old.status is distinct from new.status or old.interval is distinct from new.interval
        or old.next_payment_at is distinct from new.next_payment_at or old.cancel_at is distinct from new.cancel_at
        or old.started_at is distinct from new.started_at or old.ended_at is distinct from new.ended_at
        or old.gateway_id is distinct from new.gateway_id)
    execute function follow_membership_of_subscription();

-- Follows what the gateway says of a patient.
create function follow_membership_of_customer() returns trigger
language plpgsql as $$
begin
    -- Locked and asked in two statements: a payment that is recorded at the same moment is waited for, and then seen.
    perform lock_name(new.gateway, new.account, 'patient', new.gateway_id);
    if exists (
        select from payments p
        where p.merchant = new.merchant and p.customer_ref = new.gateway_id and p.gateway = new.gateway
          and p.account = new.account and p.is_recurring
    ) then
        perform refresh_patient(new.merchant, new.gateway, new.account, new.gateway_id);
    end if;
    return null;
end
$$;

create trigger follow_membership_insert after insert on gateway_customers
    for each row when (new.name is not null or new.email is not null)
    execute function follow_membership_of_customer();
create trigger follow_membership_update after update on gateway_customers
    for each row when (
        old.name is distinct from new.name or old.email is distinct from new.email
        or old.gateway_id is distinct from new.gateway_id)
    execute function follow_membership_of_customer();

-- Follows the name on an invoice, which stands in where the gateway says no other.
create function follow_name_on_invoice() returns trigger
language plpgsql as $$
declare
    patient record;
begin
    for patient in
        select distinct p.merchant, p.customer_ref from payments p
        where p.gateway = new.gateway and p.account = new.account and p.invoice_ref = new.gateway_id
          and p.is_recurring and p.customer_ref is not null
        order by p.customer_ref
    loop
        perform refresh_patient(patient.merchant, new.gateway, new.account, patient.customer_ref);
    end loop;
    return null;
end
$$;

-- Named so that they come after the payments have got their product.
create trigger follow_name_on_invoice_insert after insert on invoices
    for each row when (new.customer_name is not null) execute function follow_name_on_invoice();
create trigger follow_name_on_invoice_update after update on invoices
    for each row when (old.customer_name is distinct from new.customer_name) execute function follow_name_on_invoice();

-- Notes the renewals that were expected and did not come within the days of grace; returns how many. It cancels nothing.
create function note_missed_renewals(p_grace_days integer, p_most integer) returns integer
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    noted integer;
begin
    update memberships m set renewal_missed_at = m.next_expected_at, version = m.version + 1, updated_at = now()
    where m.id in (
        select id from memberships
        where renewal_missed_at is null and status in ('active', 'past_due')
          and next_expected_at < now() - make_interval(days => p_grace_days)
        order by next_expected_at
        limit p_most
        for no key update skip locked);
    get diagnostics noted = row_count;
    return noted;
end
$$;

-- Writes what a person says of a membership. A status by hand stays until it is released: null releases it.
create function change_membership(p_id bigint, p_changes jsonb, p_expected_version integer, p_reason text)
returns void
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    held memberships;
begin
    select * into held from memberships where id = p_id and merchant = working_for() for no key update;
    if held.id is null then
        raise exception using errcode = 'GH008', message = 'there is no such membership';
    elsif p_expected_version <> held.version then
        raise exception using errcode = 'GH006', message = 'the membership was changed since it was read';
    end if;
    update memberships set
        google_review_submitted = case when p_changes ? 'google_review_submitted'
            then (p_changes ->> 'google_review_submitted')::boolean else google_review_submitted end,
        referral_source = case when p_changes ? 'referral_source'
            then p_changes ->> 'referral_source' else referral_source end,
        fulfillment_type = case when p_changes ? 'fulfillment_type'
            then p_changes ->> 'fulfillment_type' else fulfillment_type end,
        status_by_hand = case when p_changes ? 'status' then p_changes ->> 'status' else status_by_hand end,
        status_reason = case when p_changes ? 'status' then p_reason else status_reason end,
        status_set_by = case
            when not p_changes ? 'status' then status_set_by
            when p_changes ->> 'status' is null then null
            else coalesce(nullif(current_setting('gatehouse.actor', true), ''), session_user) end,
        status_set_at = case
            when not p_changes ? 'status' then status_set_at
            when p_changes ->> 'status' is null then null
            else now() end,
        version = version + 1, updated_at = now()
    where id = p_id;
end
$$;

revoke execute on function
    refresh_patient(text, text, text, text, text, text), note_missed_renewals(integer, integer),
    change_membership(bigint, jsonb, integer, text)
from public;
grant execute on function refresh_patient(text, text, text, text, text, text)
to gatehouse_intake, gatehouse_api, gatehouse_worker, gatehouse_ops;
grant execute on function note_missed_renewals(integer, integer) to gatehouse_worker, gatehouse_ops;
grant execute on function change_membership(bigint, jsonb, integer, text)
to gatehouse_api, gatehouse_worker, gatehouse_ops;

-- Whoever is erased loses name and address by the rows that say them. What people have noted goes too.
create function erase_notes_of_memberships() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    update memberships m set
        name = null, email = null, referral_source = null, fulfillment_type = null, google_review_submitted = false,
        status_reason = null, version = m.version + 1, updated_at = now()
    where m.merchant = new.merchant and new.said_hash = erasure_hash(case new.what
        when 'email' then lower(m.email) else concat_ws('/', m.gateway, m.account, m.customer_ref) end);
    return null;
end
$$;

create trigger erase_notes_of_memberships after insert or update on erased_customers
    for each row execute function erase_notes_of_memberships();

revoke execute on function erase_notes_of_memberships() from public;

-- Returns the memberships of a person, for what is known of them.
create function memberships_of_person(p_email text) returns jsonb
language plpgsql stable security definer set search_path = public, pg_temp as $$
declare
    merchant_now text := working_for();
    key_now text := lower(p_email);
    customer bigint := (select id from customers where merchant = merchant_now and email_key = key_now);
begin
    return (
        select coalesce(jsonb_agg(to_jsonb(m) - array['search', 'name_key'] order by m.id), '[]')
        from memberships m
        where m.merchant = merchant_now and (m.gateway, m.account, m.customer_ref) in (
            select p.gateway, p.account, p.customer_ref
            from subjects_of_person(merchant_now, key_now, customer) as theirs
            join payments p on theirs.kind = 'payment' and p.id = theirs.id
            union
            select g.gateway, g.account, g.gateway_id
            from subjects_of_person(merchant_now, key_now, customer) as theirs
            join gateway_customers g on theirs.kind = 'customer' and g.id = theirs.id));
end
$$;

revoke execute on function memberships_of_person(text) from public;
grant execute on function memberships_of_person(text) to gatehouse_api, gatehouse_ops;

-- Finds memberships by the beginnings of words: name, code, e-mail, product.
create function memberships_with_words(p_text text) returns table (membership_id bigint)
language plpgsql stable security definer rows 100 set search_path = public, pg_temp as $$
declare
    merchant_now text := working_for();
begin
    return query select id from memberships
        where search @@ search_query(merchant_now, p_text) and merchant = merchant_now;
end
$$;

revoke execute on function memberships_with_words(text) from public;
grant execute on function memberships_with_words(text) to gatehouse_api, gatehouse_worker, gatehouse_ops;

-- migrate: down

drop function memberships_with_words(text);
drop function memberships_of_person(text);
drop trigger erase_notes_of_memberships on erased_customers;
drop function erase_notes_of_memberships();
drop function change_membership(bigint, jsonb, integer, text);
drop function note_missed_renewals(integer, integer);
drop trigger follow_name_on_invoice_update on invoices;
drop trigger follow_name_on_invoice_insert on invoices;
drop function follow_name_on_invoice();
drop trigger follow_membership_update on gateway_customers;
drop trigger follow_membership_insert on gateway_customers;
drop function follow_membership_of_customer();
drop trigger follow_membership_update on subscriptions;
drop trigger follow_membership_insert on subscriptions;
drop function follow_membership_of_subscription();
drop trigger follow_recurring_payment_update on payments;
drop trigger follow_recurring_payment_insert on payments;
drop function follow_recurring_payment();
drop function refresh_patient(text, text, text, text, text, text);
drop function memberships_of_patient(text, text, text, text);
drop function interval_seen(double precision);
drop function interval_of(text);
drop table memberships;
