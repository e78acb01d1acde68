-- What hangs on what must not depend on which of them arrived first: apps and users through subscriptions and payments,
-- what is noted of their events, and the payments of refunds that turn out to be one.
-- migrate: up

-- Takes the lock of a name, as a recording does for each name that its event speaks of (intake/record.py): here for a
-- name that only the row knows, so that whoever speaks of it at the same time is waited for.
create function lock_name(p_gateway text, p_account text, p_kind text, p_id text) returns void
language plpgsql as $$
begin
    perform pg_advisory_xact_lock(('x' || encode(substring(sha256(convert_to(
        concat_ws('/', p_gateway, p_account, p_kind, p_id), 'UTF8')) for 8), 'hex'))::bit(64)::bigint);
end
$$;

-- Which app a payment belongs to: what its events say, else its subscription, its plan, its customer, else the default.
create or replace function app_of_payment(
    p_merchant text, p_gateway text, p_account text, p_subscription_ref text, p_customer_ref text, p_plan text,
    p_app text, p_user_id text, out app text, out app_from text, out user_id text
)
language plpgsql as $$
declare
    linked record;
begin
    -- By customer and plan they find each other: of two that are told at once, the later one sees the other.
    if p_subscription_ref is null and p_customer_ref is not null and p_plan is not null then
        perform lock_name(p_gateway, p_account, 'customer', p_customer_ref);
    end if;
    app := p_app;
    user_id := p_user_id;
    app_from := case when p_app is not null then 'event' end;
    if (app is null or user_id is null)
        and (p_subscription_ref is not null or (p_customer_ref is not null and p_plan is not null)) then
        if p_subscription_ref is not null then
            -- Locked, as whoever changes it looks for its payments: one that is not committed yet would not be found.
            select s.app, s.app_from, s.user_id into linked
            from subscriptions s
            where s.gateway = p_gateway and s.account = p_account and s.gateway_id = p_subscription_ref
            limit 1
            for share;
        else
            -- Paystack's charges name no subscription: there it is the customer's one to the same plan.
            select s.app, s.app_from, s.user_id into linked
            from subscriptions s
            where s.gateway = p_gateway and s.account = p_account and s.customer_ref = p_customer_ref
              and s.plan = p_plan
            order by s.first_fact_at, s.gateway_id
            limit 1;
        end if;
        if found then
            user_id := coalesce(user_id, linked.user_id);
            if app is null and linked.app_from <> 'default' then
                app := linked.app;
                app_from := 'subscription';
            end if;
        end if;
    end if;
    if app is null or user_id is null then
        select * into linked
        from app_of_plan_or_customer(p_merchant, p_gateway, p_account, p_plan, p_customer_ref);
        user_id := coalesce(user_id, linked.user_id);
        app_from := coalesce(app_from, linked.app_from);
        app := coalesce(app, linked.app);
    end if;
    if app is null then
        select a.name, 'default' into app, app_from from apps a where a.merchant = p_merchant and a.is_default;
    end if;
end
$$;

-- Which app a subscription belongs to: what its events say, else its plan, its customer, a payment of it, else the
-- default.
create or replace function app_of_subscription(
    p_merchant text, p_gateway text, p_account text, p_gateway_id text, p_customer_ref text, p_plan text,
    p_app text, p_user_id text, out app text, out app_from text, out user_id text
)
language plpgsql as $$
declare
    linked record;
begin
    -- By customer and plan they find each other: of two that are told at once, the later one sees the other.
    if p_customer_ref is not null and p_plan is not null then
        perform lock_name(p_gateway, p_account, 'customer', p_customer_ref);
    end if;
    app := p_app;
    user_id := p_user_id;
    app_from := case when p_app is not null then 'event' end;
    if app is null or user_id is null then
        select * into linked
        from app_of_plan_or_customer(p_merchant, p_gateway, p_account, p_plan, p_customer_ref);
        user_id := coalesce(user_id, linked.user_id);
        app_from := coalesce(app_from, linked.app_from);
        app := coalesce(app, linked.app);
    end if;
    if app is null or user_id is null then
        -- The first payment whose own events say it, by the gateway's clock: so arrival does not matter. What a payment
        -- only has from this subscription would tell it what it was told.
        for linked in
            select said.app, said.user_id
            from payments p
            cross join lateral (
                select
                    (array_agg(f.words ->> 'app' order by f.occurred_at desc nulls last, f.rank desc, f.said_by desc)
                        filter (where f.words ? 'app'))[1] as app,
                    (array_agg(f.words ->> 'user_id'
                        order by f.occurred_at desc nulls last, f.rank desc, f.said_by desc)
                        filter (where f.words ? 'user_id'))[1] as user_id
                from facts f
                where f.kind = 'payment' and f.subject_id = p.id
            ) as said
            where p.id in (
                    select id from payments
                    where gateway = p_gateway and account = p_account and subscription_ref = p_gateway_id
                    union
                    select id from payments
                    where merchant = p_merchant and customer_ref = p_customer_ref and plan = p_plan
                      and gateway = p_gateway and account = p_account and subscription_ref is null
                )
                and (p.app_from = 'event' or p.user_id is not null) and p.merged_into is null
            order by p.first_fact_at, said.app, said.user_id
        loop
            if app is null and linked.app is not null then
                app := linked.app;
                app_from := 'payment';
            end if;
            user_id := coalesce(user_id, linked.user_id);
        end loop;
    end if;
    if app is null then
        select a.name, 'default' into app, app_from from apps a where a.merchant = p_merchant and a.is_default;
    end if;
end
$$;

-- Tells what is noted of events anew: what each event said itself, and where it was silent, what is known now of the
-- payment or subscription. So it does not matter which of them arrived first.
create function tell_app_transactions(p_events bigint[]) returns void
language plpgsql as $$
begin
    update app_transactions as noted
    set app = known.app, user_id = known.user_id, reference = known.reference, plan = known.plan,
        amount_minor = known.amount_minor, currency = known.currency
    from (
        select
            e.id, coalesce(p.app, s.app) as app, coalesce(p.user_id, s.user_id) as user_id,
            coalesce(word.reference, p.reference, s.reference, e.reference) as reference,
            coalesce(word.plan, p.plan, s.plan) as plan,
            coalesce(word.amount_minor, p.amount_minor, s.amount_minor) as amount_minor,
            coalesce(word.currency, p.currency, s.currency) as currency
        from app_transactions t
        join webhook_events e on e.id = t.webhook_event_id
        left join payments p on p.id = t.payment_id
        left join subscriptions s on s.id = t.subscription_id
        cross join lateral (
            -- The fact that was noted: the first of the event that says a status, payments coming first.
            select f.words from facts f
            where f.webhook_event_id = t.webhook_event_id and f.kind in ('payment', 'subscription')
              and f.words ? 'status'
            order by f.id limit 1
        ) as said
        cross join jsonb_to_record(said.words) as word (reference text, plan text, amount_minor bigint, currency text)
        where t.webhook_event_id = any (p_events)
    ) as known
    where noted.webhook_event_id = known.id
      and (noted.app, noted.user_id, noted.reference, noted.plan, noted.amount_minor, noted.currency)
        is distinct from
        (known.app, known.user_id, known.reference, known.plan, known.amount_minor, known.currency);
end
$$;

-- A link that arrives late: what hangs on it is folded anew, and so finds its app.
create or replace function follow_customer() returns trigger
language plpgsql as $$
begin
    perform fold_subjects('subscription', array(
        select id from subscriptions
        where gateway = new.gateway and account = new.account and customer_ref in (new.gateway_id, old.gateway_id)));
    perform fold_payments(array(
        select id from payments
        where merchant = new.merchant and customer_ref in (new.gateway_id, old.gateway_id) and gateway = new.gateway
          and account = new.account and merged_into is null));
    return null;
end
$$;

drop trigger follow_customer_update on gateway_customers;
create trigger follow_customer_update after update on gateway_customers
    for each row when ((old.app, old.user_id, old.gateway_id) is distinct from (new.app, new.user_id, new.gateway_id))
    execute function follow_customer();

create or replace function follow_subscription() returns trigger
language plpgsql as $$
begin
    perform fold_payments(array(
        select id from payments
        where gateway = new.gateway and account = new.account
          and subscription_ref in (new.gateway_id, old.gateway_id) and merged_into is null
        union
        select id from payments
        where merchant = new.merchant
          and (customer_ref, plan) in ((new.customer_ref, new.plan), (old.customer_ref, old.plan))
          and gateway = new.gateway and account = new.account and merged_into is null));
    if tg_op = 'UPDATE' then
        perform tell_app_transactions(array(
            select webhook_event_id from app_transactions where subscription_id = new.id));
    end if;
    return null;
end
$$;

drop trigger follow_subscription_insert on subscriptions;
drop trigger follow_subscription_update on subscriptions;
-- Of several subscriptions of a customer to one plan the first counts, also when it says nothing of an app.
create trigger follow_subscription_insert after insert on subscriptions
    for each row when (
        new.app_from <> 'default' or new.user_id is not null
        or (new.customer_ref is not null and new.plan is not null)
    ) execute function follow_subscription();
create trigger follow_subscription_update after update on subscriptions
    for each row when (
        (old.app, old.app_from, old.user_id, old.customer_ref, old.plan, old.gateway_id, old.first_fact_at,
            old.reference, old.amount_minor, old.currency)
        is distinct from
        (new.app, new.app_from, new.user_id, new.customer_ref, new.plan, new.gateway_id, new.first_fact_at,
            new.reference, new.amount_minor, new.currency)
    ) execute function follow_subscription();

-- A payment that says an app or a user, and those that hang on it: its subscription (also the one that it named
-- before), and what is noted of its events.
create or replace function follow_payment() returns trigger
language plpgsql as $$
begin
    if new.app_from = 'event' or new.user_id is not null or new.merged_into is not null then
        -- Also those that are being recorded this moment: of what it names now, and of what it named before.
        perform lock_name(new.gateway, new.account, named.kind, named.id)
        from (
            select 'subscription' as kind, new.subscription_ref as id
            union
            select 'subscription', old.subscription_ref
            union
            select 'customer', old.customer_ref where old.customer_ref <> new.customer_ref
            order by 1, 2
        ) as named
        where named.id is not null;
        perform fold_subjects('subscription', array(
            select id from subscriptions
            where gateway = new.gateway and account = new.account
              and gateway_id in (new.subscription_ref, old.subscription_ref)
            union
            select id from subscriptions
            where gateway = new.gateway and account = new.account
              and (customer_ref, plan) in ((new.customer_ref, new.plan), (old.customer_ref, old.plan))));
    end if;
    if tg_op = 'UPDATE' then
        perform tell_app_transactions(array(
            select webhook_event_id from app_transactions where payment_id = new.id));
    end if;
    return null;
end
$$;

drop trigger follow_payment_insert on payments;
drop trigger follow_payment_update on payments;
create trigger follow_payment_insert after insert on payments
    for each row when (
        (new.app_from = 'event' or new.user_id is not null)
        and (new.subscription_ref is not null or (new.customer_ref is not null and new.plan is not null))
    ) execute function follow_payment();
-- Which payment of a subscription is the first depends on its time, and on those that were joined away.
create trigger follow_payment_update after update on payments
    for each row when (
        (old.app, old.app_from, old.user_id, old.subscription_ref, old.customer_ref, old.plan, old.first_fact_at,
            old.merged_into, old.reference, old.amount_minor, old.currency)
        is distinct from
        (new.app, new.app_from, new.user_id, new.subscription_ref, new.customer_ref, new.plan, new.first_fact_at,
            new.merged_into, new.reference, new.amount_minor, new.currency)
    ) execute function follow_payment();

-- Makes one payment of several: the first takes the names, facts and all that hangs on the others.
create or replace function join_payments(p_ids bigint[]) returns bigint
language plpgsql as $$
declare
    home bigint := (select min(id) from unnest(p_ids) as id);
    others bigint[] := array(select distinct id from unnest(p_ids) as id where id <> home);
    noted bigint[];
begin
    update payment_objects set payment_id = home where payment_id = any (others);
    update facts set subject_id = home where kind = 'payment' and subject_id = any (others);
    update refunds set payment_id = home where payment_id = any (others);
    update disputes set payment_id = home where payment_id = any (others);
    with moved as (
        update app_transactions set payment_id = home where payment_id = any (others) returning webhook_event_id
    )
    select coalesce(array_agg(webhook_event_id), '{}') into noted from moved;
    perform tell_app_transactions(noted);
    update payments set merged_into = home where id = any (others) or merged_into = any (others);
    return home;
end
$$;

-- Removes rows whose facts have all moved to the one that they were joined with; any other row stays.
create or replace function drop_joined_away(p_kind text, p_ids bigint[]) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    gone bigint[] := array(
        select away.id from unnest(p_ids) as away (id)
        where not exists (select from facts f where f.kind = p_kind and f.subject_id = away.id));
begin
    case p_kind
        when 'customer' then delete from gateway_customers where id = any (gone);
        when 'subscription' then delete from subscriptions where id = any (gone);
        when 'invoice' then delete from invoices where id = any (gone);
        when 'refund' then delete from refunds where id = any (gone);
        when 'dispute' then delete from disputes where id = any (gone);
        when 'payout' then delete from payouts where id = any (gone);
    end case;
end
$$;

-- Refunds, or disputes, that turn out to be one are of one payment: what each was known to be of, joined.
create function join_payments_of(p_kind text, p_ids bigint[]) returns void
language plpgsql as $$
declare
    known bigint[];
    of_payment bigint;
begin
    if p_kind = 'refund' then
        known := array(select distinct payment_id from refunds where id = any (p_ids) and payment_id is not null);
    else
        known := array(select distinct payment_id from disputes where id = any (p_ids) and payment_id is not null);
    end if;
    if known = '{}' then
        return;
    end if;
    of_payment := known[1];
    if cardinality(known) > 1 then
        perform from payments where id = any (known) order by id for update;
        of_payment := join_payments(known);
    end if;
    -- The one that stays may be the one that did not know its payment.
    if p_kind = 'refund' then
        update refunds set payment_id = of_payment where id = p_ids[1] and payment_id is null;
    else
        update disputes set payment_id = of_payment where id = p_ids[1] and payment_id is null;
        perform fold_payments(array[of_payment]);  -- a refund's payment is folded by whoever applies its fact
    end if;
end
$$;

-- Returns the subject that these names lead to, locked, or the id of a new one. Names that lead to several show them to
-- be one: the smallest id takes the names and facts of the others. That needs the account alone (GH001).
create or replace function home_of_subject(
    p_merchant text, p_gateway text, p_account text, p_kind text, p_objects jsonb, p_joining boolean
) returns bigint
language plpgsql as $$
declare
    known bigint[] := array(
        select distinct found.subject_id
        from jsonb_array_elements(p_objects) as named,
             lateral (
                 select sn.subject_id from subject_names sn
                 where sn.gateway = p_gateway and sn.account = p_account and sn.kind = named ->> 'kind'
                   and sn.object_id = named ->> 'id' and sn.subject_kind = p_kind
                 limit 1
             ) as found
        order by found.subject_id
    );
    home bigint := coalesce(known[1], nextval('subject_ids'));
    each bigint;
    noted bigint[];
begin
    foreach each in array known loop
        perform lock_subject(p_kind, each);
    end loop;
    if cardinality(known) > 1 then
        if not p_joining then
            raise exception using errcode = 'GH001', message = 'these names lead to several rows';
        end if;
        update subject_names set subject_id = home where subject_kind = p_kind and subject_id = any (known[2:]);
        update facts set subject_id = home where kind = p_kind and subject_id = any (known[2:]);
        if p_kind = 'subscription' then
            with moved as (
                update app_transactions set subscription_id = home where subscription_id = any (known[2:])
                returning webhook_event_id
            )
            select coalesce(array_agg(webhook_event_id), '{}') into noted from moved;
            perform tell_app_transactions(noted);
        elsif p_kind in ('refund', 'dispute') then
            perform join_payments_of(p_kind, known);
        end if;
        perform drop_joined_away(p_kind, known[2:]);
    end if;
    insert into subject_names (gateway, account, kind, object_id, subject_kind, subject_id, merchant)
    select p_gateway, p_account, named ->> 'kind', named ->> 'id', p_kind, home, p_merchant
    from jsonb_array_elements(p_objects) as named
    on conflict (gateway, account, kind, object_id, subject_kind) do nothing;
    return home;
end
$$;

-- Notes an event of a payment or subscription for the app that it belongs to, as far as is known now.
create or replace function log_app_transaction(p_event_row bigint, p_fact jsonb) returns void
language plpgsql as $$
begin
    insert into app_transactions (
        webhook_event_id, merchant, app, gateway, account, livemode, event_type, payment_id, subscription_id,
        reference, user_id, plan, amount_minor, currency, status, occurred_at, created_at
    )
    select
        e.id, e.merchant, coalesce(p.app, s.app), e.gateway, e.account, e.livemode, e.type, p.id, s.id,
        coalesce(word.reference, p.reference, s.reference, e.reference), coalesce(p.user_id, s.user_id),
        coalesce(word.plan, p.plan, s.plan), coalesce(word.amount_minor, p.amount_minor, s.amount_minor),
        coalesce(word.currency, p.currency, s.currency), coalesce(word.status, p.status, s.status), e.occurred_at,
        e.received_at
    from webhook_events e
    cross join jsonb_to_record(p_fact -> 'words') as word (
        reference text, plan text, amount_minor bigint, currency text, status text)
    -- Asked from its fact: what the same event says of a refund may have joined the row with another one since.
    cross join lateral (
        select f.subject_id from facts f
        where f.webhook_event_id = e.id and f.kind in ('payment', 'subscription') and f.words ? 'status'
        order by f.id limit 1
    ) as noted
    left join payments p on p_fact ->> 'kind' = 'payment' and p.id = noted.subject_id
    left join subscriptions s on p_fact ->> 'kind' = 'subscription' and s.id = noted.subject_id
    where e.id = p_event_row
    on conflict (webhook_event_id) do nothing;
end
$$;

-- migrate: down

-- Notes an event of a payment or subscription for the app that it belongs to, as far as is known now.
create or replace function log_app_transaction(p_event_row bigint, p_fact jsonb) returns void
language plpgsql as $$
begin
    insert into app_transactions (
        webhook_event_id, merchant, app, gateway, account, livemode, event_type, payment_id, subscription_id,
        reference, user_id, plan, amount_minor, currency, status, occurred_at, created_at
    )
    select
        e.id, e.merchant, coalesce(p.app, s.app), e.gateway, e.account, e.livemode, e.type, p.id, s.id,
        coalesce(word.reference, p.reference, s.reference, e.reference), coalesce(p.user_id, s.user_id),
        coalesce(word.plan, p.plan, s.plan), coalesce(word.amount_minor, p.amount_minor, s.amount_minor),
        coalesce(word.currency, p.currency, s.currency), coalesce(word.status, p.status, s.status), e.occurred_at,
        e.received_at
    from webhook_events e
    cross join jsonb_to_record(p_fact -> 'words') as word (
        reference text, plan text, amount_minor bigint, currency text, status text)
    left join payments p on p_fact ->> 'kind' = 'payment' and p.id = (p_fact ->> 'id')::bigint
    left join subscriptions s on p_fact ->> 'kind' = 'subscription' and s.id = (p_fact ->> 'id')::bigint
    where e.id = p_event_row
    on conflict (webhook_event_id) do nothing;
end
$$;

-- Returns the subject that these names lead to, locked, or the id of a new one. Names that lead to several show them to
-- be one: the smallest id takes the names and facts of the others. That needs the account alone (GH001).
create or replace function home_of_subject(
    p_merchant text, p_gateway text, p_account text, p_kind text, p_objects jsonb, p_joining boolean
) returns bigint
language plpgsql as $$
declare
    known bigint[] := array(
        select distinct found.subject_id
        from jsonb_array_elements(p_objects) as named,
             lateral (
                 select sn.subject_id from subject_names sn
                 where sn.gateway = p_gateway and sn.account = p_account and sn.kind = named ->> 'kind'
                   and sn.object_id = named ->> 'id' and sn.subject_kind = p_kind
                 limit 1
             ) as found
        order by found.subject_id
    );
    home bigint := coalesce(known[1], nextval('subject_ids'));
    each bigint;
begin
    foreach each in array known loop
        perform lock_subject(p_kind, each);
    end loop;
    if cardinality(known) > 1 then
        if not p_joining then
            raise exception using errcode = 'GH001', message = 'these names lead to several rows';
        end if;
        update subject_names set subject_id = home where subject_kind = p_kind and subject_id = any (known[2:]);
        update facts set subject_id = home where kind = p_kind and subject_id = any (known[2:]);
        if p_kind = 'subscription' then
            update app_transactions set subscription_id = home where subscription_id = any (known[2:]);
        end if;
        perform drop_joined_away(p_kind, known[2:]);
    end if;
    insert into subject_names (gateway, account, kind, object_id, subject_kind, subject_id, merchant)
    select p_gateway, p_account, named ->> 'kind', named ->> 'id', p_kind, home, p_merchant
    from jsonb_array_elements(p_objects) as named
    on conflict (gateway, account, kind, object_id, subject_kind) do nothing;
    return home;
end
$$;

drop function join_payments_of(text, bigint[]);

-- Removes rows whose facts have all moved to the one that they were joined with; any other row stays.
create or replace function drop_joined_away(p_kind text, p_ids bigint[]) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    gone bigint[] := array(
        select id from unnest(p_ids) as id
        where not exists (select from facts where kind = p_kind and subject_id = id));
begin
    case p_kind
        when 'customer' then delete from gateway_customers where id = any (gone);
        when 'subscription' then delete from subscriptions where id = any (gone);
        when 'invoice' then delete from invoices where id = any (gone);
        when 'refund' then delete from refunds where id = any (gone);
        when 'dispute' then delete from disputes where id = any (gone);
        when 'payout' then delete from payouts where id = any (gone);
    end case;
end
$$;

-- Makes one payment of several: the first takes the names, facts and all that hangs on the others.
create or replace function join_payments(p_ids bigint[]) returns bigint
language plpgsql as $$
declare
    home bigint := (select min(id) from unnest(p_ids) as id);
    others bigint[] := array(select distinct id from unnest(p_ids) as id where id <> home);
begin
    update payment_objects set payment_id = home where payment_id = any (others);
    update facts set subject_id = home where kind = 'payment' and subject_id = any (others);
    update refunds set payment_id = home where payment_id = any (others);
    update disputes set payment_id = home where payment_id = any (others);
    update app_transactions set payment_id = home where payment_id = any (others);
    update payments set merged_into = home where id = any (others) or merged_into = any (others);
    return home;
end
$$;

drop trigger follow_payment_insert on payments;
drop trigger follow_payment_update on payments;
drop trigger follow_subscription_insert on subscriptions;
drop trigger follow_subscription_update on subscriptions;
drop trigger follow_customer_update on gateway_customers;

create or replace function follow_payment() returns trigger
language plpgsql as $$
begin
    if new.app_from = 'event' or new.user_id is not null then
        perform fold_subjects('subscription', array(
            select id from subscriptions
            where gateway = new.gateway and account = new.account and gateway_id = new.subscription_ref
            union
            select id from subscriptions
            where gateway = new.gateway and account = new.account and customer_ref = new.customer_ref
              and plan = new.plan));
    end if;
    if tg_op = 'UPDATE' then
        update app_transactions set app = new.app, user_id = coalesce(new.user_id, user_id)
        where payment_id = new.id and (app is distinct from new.app or user_id is distinct from new.user_id);
    end if;
    return null;
end
$$;

create trigger follow_payment_insert after insert on payments
    for each row when (
        (new.app_from = 'event' or new.user_id is not null)
        and (new.subscription_ref is not null or (new.customer_ref is not null and new.plan is not null))
    ) execute function follow_payment();
create trigger follow_payment_update after update on payments
    for each row when (
        (old.app, old.app_from, old.user_id, old.subscription_ref, old.customer_ref, old.plan)
        is distinct from (new.app, new.app_from, new.user_id, new.subscription_ref, new.customer_ref, new.plan)
    ) execute function follow_payment();

create or replace function follow_subscription() returns trigger
language plpgsql as $$
begin
    perform fold_payments(array(
        select id from payments
        where gateway = new.gateway and account = new.account and subscription_ref = new.gateway_id
          and merged_into is null
        union
        select id from payments
        where merchant = new.merchant and customer_ref = new.customer_ref and plan = new.plan
          and gateway = new.gateway and account = new.account and merged_into is null));
    update app_transactions set app = new.app, user_id = coalesce(new.user_id, user_id)
    where subscription_id = new.id and (app is distinct from new.app or user_id is distinct from new.user_id);
    return null;
end
$$;

create trigger follow_subscription_insert after insert on subscriptions
    for each row when (new.app_from <> 'default' or new.user_id is not null) execute function follow_subscription();
create trigger follow_subscription_update after update on subscriptions
    for each row when (
        (old.app, old.app_from, old.user_id, old.customer_ref, old.plan)
        is distinct from (new.app, new.app_from, new.user_id, new.customer_ref, new.plan)
    ) execute function follow_subscription();

-- A link that arrives late: what hangs on it is folded anew, and so finds its app.
create or replace function follow_customer() returns trigger
language plpgsql as $$
begin
    perform fold_subjects('subscription', array(
        select id from subscriptions
        where gateway = new.gateway and account = new.account and customer_ref = new.gateway_id));
    perform fold_payments(array(
        select id from payments
        where merchant = new.merchant and customer_ref = new.gateway_id and gateway = new.gateway
          and account = new.account and merged_into is null));
    return null;
end
$$;

create trigger follow_customer_update after update on gateway_customers
    for each row when ((old.app, old.user_id) is distinct from (new.app, new.user_id))
    execute function follow_customer();

drop function tell_app_transactions(bigint[]);

-- Which app a subscription belongs to: what its events say, else its plan, its customer, a payment of it, else the
-- default.
create or replace function app_of_subscription(
    p_merchant text, p_gateway text, p_account text, p_gateway_id text, p_customer_ref text, p_plan text,
    p_app text, p_user_id text, out app text, out app_from text, out user_id text
)
language plpgsql as $$
declare
    linked record;
begin
    app := p_app;
    user_id := p_user_id;
    app_from := case when p_app is not null then 'event' end;
    if app is null or user_id is null then
        select * into linked
        from app_of_plan_or_customer(p_merchant, p_gateway, p_account, p_plan, p_customer_ref);
        user_id := coalesce(user_id, linked.user_id);
        app_from := coalesce(app_from, linked.app_from);
        app := coalesce(app, linked.app);
    end if;
    if app is null or user_id is null then
        -- The first payment that says it, by the gateway's clock: so arrival does not matter.
        select p.app, p.app_from, p.user_id into linked
        from payments p
        where p.id in (
                select id from payments
                where gateway = p_gateway and account = p_account and subscription_ref = p_gateway_id
                union
                select id from payments
                where merchant = p_merchant and customer_ref = p_customer_ref and plan = p_plan
                  and gateway = p_gateway and account = p_account
            )
            and p.app_from = 'event' and p.merged_into is null
        order by p.first_fact_at, p.app, p.user_id
        limit 1;
        if found then
            user_id := coalesce(user_id, linked.user_id);
            if app is null then
                app := linked.app;
                app_from := 'payment';
            end if;
        end if;
    end if;
    if app is null then
        select a.name, 'default' into app, app_from from apps a where a.merchant = p_merchant and a.is_default;
    end if;
end
$$;

-- Which app a payment belongs to: what its events say, else its subscription, its plan, its customer, else the default.
create or replace function app_of_payment(
    p_merchant text, p_gateway text, p_account text, p_subscription_ref text, p_customer_ref text, p_plan text,
    p_app text, p_user_id text, out app text, out app_from text, out user_id text
)
language plpgsql as $$
declare
    linked record;
begin
    app := p_app;
    user_id := p_user_id;
    app_from := case when p_app is not null then 'event' end;
    if (app is null or user_id is null)
        and (p_subscription_ref is not null or (p_customer_ref is not null and p_plan is not null)) then
        -- Paystack's charges name no subscription: there it is the customer's one to the same plan.
        select s.app, s.app_from, s.user_id into linked
        from subscriptions s
        where s.gateway = p_gateway and s.account = p_account and s.gateway_id = p_subscription_ref
        limit 1;
        if not found then
            select s.app, s.app_from, s.user_id into linked
            from subscriptions s
            where s.gateway = p_gateway and s.account = p_account and s.customer_ref = p_customer_ref
              and s.plan = p_plan
            order by s.first_fact_at, s.gateway_id
            limit 1;
        end if;
        if found then
            user_id := coalesce(user_id, linked.user_id);
            if app is null and linked.app_from <> 'default' then
                app := linked.app;
                app_from := 'subscription';
            end if;
        end if;
    end if;
    if app is null or user_id is null then
        select * into linked
        from app_of_plan_or_customer(p_merchant, p_gateway, p_account, p_plan, p_customer_ref);
        user_id := coalesce(user_id, linked.user_id);
        app_from := coalesce(app_from, linked.app_from);
        app := coalesce(app, linked.app);
    end if;
    if app is null then
        select a.name, 'default' into app, app_from from apps a where a.merchant = p_merchant and a.is_default;
    end if;
end
$$;

drop function lock_name(text, text, text, text);
