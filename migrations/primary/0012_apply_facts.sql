-- How every kind of fact becomes rows; what 0008 says of payments holds for all of them. Its `record_event` and
-- `apply_payment_facts` stay for a release, for the code that still calls them while this one is rolled out.
-- migrate: up

-- Gathers the facts of one subject: every word by the newest fact that says it, a fact without a time being older than
-- any. The status is that of the highest step where the subject climbs a ladder, else the newest like any other word.
create function told_of(
    p_kind text, p_id bigint, p_climbs boolean, out merchant text, out gateway text, out account text, out words jsonb,
    out status text, out first_fact_at timestamptz, out last_fact_at timestamptz
)
language plpgsql as $$
declare
    told facts;
    step smallint := -1;
    first_received_at timestamptz;
    last_received_at timestamptz;
begin
    for told in
        select * from facts where kind = p_kind and subject_id = p_id
        order by occurred_at nulls first, rank, said_by
    loop
        words := coalesce(words, '{}') || told.words;
        if told.words ->> 'status' is not null and (not p_climbs or told.rank >= step) then
            status := told.words ->> 'status';
            step := told.rank;
        end if;
        first_fact_at := least(first_fact_at, told.occurred_at);
        first_received_at := least(first_received_at, told.received_at);
        last_received_at := greatest(last_received_at, told.received_at);
        last_fact_at := told.occurred_at;
        merchant := told.merchant;
        gateway := told.gateway;
        account := told.account;
    end loop;
    first_fact_at := coalesce(first_fact_at, first_received_at);
    last_fact_at := coalesce(last_fact_at, last_received_at);
end
$$;

-- What the plan and the customer say of the app, the plan first, and who the customer is to it.
create function app_of_plan_or_customer(
    p_merchant text, p_gateway text, p_account text, p_plan text, p_customer_ref text, out app text, out app_from text,
    out user_id text
)
language plpgsql as $$
declare
    customer record;
begin
    if p_plan is not null then
        select a.name, 'plan' into app, app_from
        from apps a where a.merchant = p_merchant and p_plan = any (a.plans)
        order by a.name limit 1;
    end if;
    if p_customer_ref is not null then
        select c.app, c.user_id into customer
        from gateway_customers c
        where c.gateway = p_gateway and c.account = p_account and c.gateway_id = p_customer_ref
        limit 1;
        user_id := customer.user_id;
        if app is null and customer.app is not null then
            app := customer.app;
            app_from := 'customer';
        end if;
    end if;
end
$$;

-- Which app a payment belongs to: what its events say, else its subscription, its plan, its customer, else the default.
create function app_of_payment(
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

-- Which app a subscription belongs to: what its events say, else its plan, its customer, a payment of it, else the
-- default.
create function app_of_subscription(
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

-- Makes the row of a gateway's customer from all its facts.
create function fold_customer(p_id bigint) returns text
language plpgsql as $$
declare
    told record;
    new_status text;
begin
    select * into told from told_of('customer', p_id, false);
    if told.words is null then  -- its facts have moved to the one that it was joined with
        return null;
    end if;
    insert into gateway_customers as held (
        id, merchant, gateway, account, livemode, gateway_id, email, name, phone, app, user_id, is_deleted, metadata,
        first_fact_at, last_fact_at
    )
    select
        p_id, told.merchant, told.gateway, told.account, coalesce(word.livemode, false),
        coalesce(word.gateway_id, ''), word.email, word.name, word.phone, word.app, word.user_id, word.is_deleted,
        word.metadata, told.first_fact_at, told.last_fact_at
    from jsonb_to_record(told.words) as word (
        livemode boolean, gateway_id text, email text, name text, phone text, app text, user_id text,
        is_deleted boolean, metadata jsonb
    )
    on conflict (id) do update set
        livemode = excluded.livemode, gateway_id = excluded.gateway_id, email = excluded.email, name = excluded.name,
        phone = excluded.phone, app = excluded.app, user_id = excluded.user_id, is_deleted = excluded.is_deleted,
        metadata = excluded.metadata, first_fact_at = excluded.first_fact_at, last_fact_at = excluded.last_fact_at
    where (
        held.livemode, held.gateway_id, held.email, held.name, held.phone, held.app, held.user_id, held.is_deleted,
        held.metadata, held.first_fact_at, held.last_fact_at
    ) is distinct from (
        excluded.livemode, excluded.gateway_id, excluded.email, excluded.name, excluded.phone, excluded.app,
        excluded.user_id, excluded.is_deleted, excluded.metadata, excluded.first_fact_at, excluded.last_fact_at
    )
    returning case when held.is_deleted then 'deleted' else 'known' end into new_status;
    return new_status;
end
$$;

-- Makes the row of a subscription from all its facts, and finds the app that it belongs to.
create function fold_subscription(p_id bigint) returns text
language plpgsql as $$
declare
    told record;
    new_status text;
begin
    select * into told from told_of('subscription', p_id, false);
    if told.words is null then  -- its facts have moved to the one that it was joined with
        return null;
    end if;
    insert into subscriptions as held (
        id, merchant, gateway, account, livemode, gateway_id, status, plan, plan_name, amount_minor, currency,
        interval, customer_ref, email, reference, started_at, period_start, period_end, next_payment_at, cancel_at,
        ended_at, cancel_reason, app, app_from, user_id, metadata, first_fact_at, last_fact_at
    )
    select
        p_id, told.merchant, told.gateway, told.account, coalesce(word.livemode, false),
        coalesce(word.gateway_id, ''), coalesce(told.status, 'pending'), word.plan, word.plan_name, word.amount_minor,
        word.currency, word.interval, word.customer_ref, word.email, word.reference, word.started_at,
        word.period_start, word.period_end, word.next_payment_at, word.cancel_at, word.ended_at, word.cancel_reason,
        linked.app, linked.app_from, linked.user_id, word.metadata, told.first_fact_at, told.last_fact_at
    from jsonb_to_record(told.words) as word (
        livemode boolean, gateway_id text, plan text, plan_name text, amount_minor bigint, currency text,
        interval text, customer_ref text, email text, reference text, started_at timestamptz,
        period_start timestamptz, period_end timestamptz, next_payment_at timestamptz, cancel_at timestamptz,
        ended_at timestamptz, cancel_reason text, app text, user_id text, metadata jsonb
    )
    cross join lateral app_of_subscription(
        told.merchant, told.gateway, told.account, word.gateway_id, word.customer_ref, word.plan, word.app, word.user_id
    ) as linked
    on conflict (id) do update set
        livemode = excluded.livemode, gateway_id = excluded.gateway_id, status = excluded.status,
        plan = excluded.plan, plan_name = excluded.plan_name, amount_minor = excluded.amount_minor,
        currency = excluded.currency, interval = excluded.interval, customer_ref = excluded.customer_ref,
        email = excluded.email, reference = excluded.reference, started_at = excluded.started_at,
        period_start = excluded.period_start, period_end = excluded.period_end,
        next_payment_at = excluded.next_payment_at, cancel_at = excluded.cancel_at, ended_at = excluded.ended_at,
        cancel_reason = excluded.cancel_reason, app = excluded.app, app_from = excluded.app_from,
        user_id = excluded.user_id, metadata = excluded.metadata, first_fact_at = excluded.first_fact_at,
        last_fact_at = excluded.last_fact_at
    where (
        held.livemode, held.gateway_id, held.status, held.plan, held.plan_name, held.amount_minor, held.currency,
        held.interval, held.customer_ref, held.email, held.reference, held.started_at, held.period_start,
        held.period_end, held.next_payment_at, held.cancel_at, held.ended_at, held.cancel_reason, held.app,
        held.app_from, held.user_id, held.metadata, held.first_fact_at, held.last_fact_at
    ) is distinct from (
        excluded.livemode, excluded.gateway_id, excluded.status, excluded.plan, excluded.plan_name,
        excluded.amount_minor, excluded.currency, excluded.interval, excluded.customer_ref, excluded.email,
        excluded.reference, excluded.started_at, excluded.period_start, excluded.period_end, excluded.next_payment_at,
        excluded.cancel_at, excluded.ended_at, excluded.cancel_reason, excluded.app, excluded.app_from,
        excluded.user_id, excluded.metadata, excluded.first_fact_at, excluded.last_fact_at
    )
    returning held.status into new_status;
    return new_status;
end
$$;

-- Makes the row of an invoice from all its facts.
create function fold_invoice(p_id bigint) returns text
language plpgsql as $$
declare
    told record;
    new_status text;
begin
    select * into told from told_of('invoice', p_id, false);
    if told.words is null then  -- its facts have moved to the one that it was joined with
        return null;
    end if;
    insert into invoices as held (
        id, merchant, gateway, account, livemode, gateway_id, status, number, total_minor, due_minor, paid_minor,
        currency, customer_ref, email, subscription_ref, attempts, next_attempt_at, issued_at, due_at, paid_at,
        period_start, period_end, description, lines, metadata, first_fact_at, last_fact_at
    )
    select
        p_id, told.merchant, told.gateway, told.account, coalesce(word.livemode, false),
        coalesce(word.gateway_id, ''), coalesce(told.status, 'open'), word.number, word.total_minor, word.due_minor,
        word.paid_minor, word.currency, word.customer_ref, word.email, word.subscription_ref, word.attempts,
        word.next_attempt_at, word.issued_at, word.due_at, word.paid_at, word.period_start, word.period_end,
        word.description, word.lines, word.metadata, told.first_fact_at, told.last_fact_at
    from jsonb_to_record(told.words) as word (
        livemode boolean, gateway_id text, number text, total_minor bigint, due_minor bigint, paid_minor bigint,
        currency text, customer_ref text, email text, subscription_ref text, attempts integer,
        next_attempt_at timestamptz, issued_at timestamptz, due_at timestamptz, paid_at timestamptz,
        period_start timestamptz, period_end timestamptz, description text, lines jsonb, metadata jsonb
    )
    on conflict (id) do update set
        livemode = excluded.livemode, gateway_id = excluded.gateway_id, status = excluded.status,
        number = excluded.number, total_minor = excluded.total_minor, due_minor = excluded.due_minor,
        paid_minor = excluded.paid_minor, currency = excluded.currency, customer_ref = excluded.customer_ref,
        email = excluded.email, subscription_ref = excluded.subscription_ref, attempts = excluded.attempts,
        next_attempt_at = excluded.next_attempt_at, issued_at = excluded.issued_at, due_at = excluded.due_at,
        paid_at = excluded.paid_at, period_start = excluded.period_start, period_end = excluded.period_end,
        description = excluded.description, lines = excluded.lines, metadata = excluded.metadata,
        first_fact_at = excluded.first_fact_at, last_fact_at = excluded.last_fact_at
    where (
        held.livemode, held.gateway_id, held.status, held.number, held.total_minor, held.due_minor, held.paid_minor,
        held.currency, held.customer_ref, held.email, held.subscription_ref, held.attempts, held.next_attempt_at,
        held.issued_at, held.due_at, held.paid_at, held.period_start, held.period_end, held.description, held.lines,
        held.metadata, held.first_fact_at, held.last_fact_at
    ) is distinct from (
        excluded.livemode, excluded.gateway_id, excluded.status, excluded.number, excluded.total_minor,
        excluded.due_minor, excluded.paid_minor, excluded.currency, excluded.customer_ref, excluded.email,
        excluded.subscription_ref, excluded.attempts, excluded.next_attempt_at, excluded.issued_at, excluded.due_at,
        excluded.paid_at, excluded.period_start, excluded.period_end, excluded.description, excluded.lines,
        excluded.metadata, excluded.first_fact_at, excluded.last_fact_at
    )
    returning held.status into new_status;
    return new_status;
end
$$;

-- Makes the row of a refund from all its facts; the payment that it gives back is found by its names.
create function fold_refund(p_id bigint) returns text
language plpgsql as $$
declare
    told record;
    new_status text;
begin
    select * into told from told_of('refund', p_id, true);
    if told.words is null then  -- its facts have moved to the one that it was joined with
        return null;
    end if;
    insert into refunds as held (
        id, merchant, gateway, account, livemode, gateway_id, payment_id, status, amount_minor, currency, fee_minor,
        reason, failure_code, failure_message, reference, refunded_at, metadata, first_fact_at, last_fact_at
    )
    select
        p_id, told.merchant, told.gateway, told.account, coalesce(word.livemode, false),
        coalesce(word.gateway_id, ''), (payments_named(told.gateway, told.account, word.payment))[1],
        coalesce(told.status, 'pending'), word.amount_minor, word.currency, word.fee_minor, word.reason,
        case when told.status = 'failed' then word.failure_code end,
        case when told.status = 'failed' then word.failure_message end, word.reference, word.refunded_at,
        word.metadata, told.first_fact_at, told.last_fact_at
    from jsonb_to_record(told.words) as word (
        livemode boolean, gateway_id text, amount_minor bigint, currency text, fee_minor bigint, reason text,
        failure_code text, failure_message text, reference text, refunded_at timestamptz, metadata jsonb,
        payment jsonb
    )
    on conflict (id) do update set
        livemode = excluded.livemode, gateway_id = excluded.gateway_id, payment_id = excluded.payment_id,
        status = excluded.status, amount_minor = excluded.amount_minor, currency = excluded.currency,
        fee_minor = excluded.fee_minor, reason = excluded.reason, failure_code = excluded.failure_code,
        failure_message = excluded.failure_message, reference = excluded.reference,
        refunded_at = excluded.refunded_at, metadata = excluded.metadata, first_fact_at = excluded.first_fact_at,
        last_fact_at = excluded.last_fact_at
    where (
        held.livemode, held.gateway_id, held.payment_id, held.status, held.amount_minor, held.currency,
        held.fee_minor, held.reason, held.failure_code, held.failure_message, held.reference, held.refunded_at,
        held.metadata, held.first_fact_at, held.last_fact_at
    ) is distinct from (
        excluded.livemode, excluded.gateway_id, excluded.payment_id, excluded.status, excluded.amount_minor,
        excluded.currency, excluded.fee_minor, excluded.reason, excluded.failure_code, excluded.failure_message,
        excluded.reference, excluded.refunded_at, excluded.metadata, excluded.first_fact_at, excluded.last_fact_at
    )
    returning held.status into new_status;
    return new_status;
end
$$;

-- Makes the row of a dispute from all its facts; the payment that it is about is found by its names.
create function fold_dispute(p_id bigint) returns text
language plpgsql as $$
declare
    told record;
    new_status text;
begin
    select * into told from told_of('dispute', p_id, false);
    if told.words is null then  -- its facts have moved to the one that it was joined with
        return null;
    end if;
    insert into disputes as held (
        id, merchant, gateway, account, livemode, gateway_id, payment_id, status, amount_minor, currency, fee_minor,
        reason, outcome, is_withdrawn, respond_by, opened_at, closed_at, first_fact_at, last_fact_at
    )
    select
        p_id, told.merchant, told.gateway, told.account, coalesce(word.livemode, false),
        coalesce(word.gateway_id, ''), (payments_named(told.gateway, told.account, word.payment))[1],
        coalesce(told.status, 'needs_response'), word.amount_minor, word.currency, word.fee_minor, word.reason,
        word.outcome, word.is_withdrawn, word.respond_by, word.opened_at, word.closed_at, told.first_fact_at,
        told.last_fact_at
    from jsonb_to_record(told.words) as word (
        livemode boolean, gateway_id text, amount_minor bigint, currency text, fee_minor bigint, reason text,
        outcome text, is_withdrawn boolean, respond_by timestamptz, opened_at timestamptz, closed_at timestamptz,
        payment jsonb
    )
    on conflict (id) do update set
        livemode = excluded.livemode, gateway_id = excluded.gateway_id, payment_id = excluded.payment_id,
        status = excluded.status, amount_minor = excluded.amount_minor, currency = excluded.currency,
        fee_minor = excluded.fee_minor, reason = excluded.reason, outcome = excluded.outcome,
        is_withdrawn = excluded.is_withdrawn, respond_by = excluded.respond_by, opened_at = excluded.opened_at,
        closed_at = excluded.closed_at, first_fact_at = excluded.first_fact_at, last_fact_at = excluded.last_fact_at
    where (
        held.livemode, held.gateway_id, held.payment_id, held.status, held.amount_minor, held.currency,
        held.fee_minor, held.reason, held.outcome, held.is_withdrawn, held.respond_by, held.opened_at, held.closed_at,
        held.first_fact_at, held.last_fact_at
    ) is distinct from (
        excluded.livemode, excluded.gateway_id, excluded.payment_id, excluded.status, excluded.amount_minor,
        excluded.currency, excluded.fee_minor, excluded.reason, excluded.outcome, excluded.is_withdrawn,
        excluded.respond_by, excluded.opened_at, excluded.closed_at, excluded.first_fact_at, excluded.last_fact_at
    )
    returning held.status into new_status;
    return new_status;
end
$$;

-- Makes the row of a payout or transfer from all its facts.
create function fold_payout(p_id bigint) returns text
language plpgsql as $$
declare
    told record;
    new_status text;
begin
    select * into told from told_of('payout', p_id, true);
    if told.words is null then  -- its facts have moved to the one that it was joined with
        return null;
    end if;
    insert into payouts as held (
        id, merchant, gateway, account, livemode, gateway_id, kind, status, amount_minor, currency, fee_minor,
        reversed_minor, destination, batch_ref, reference, arrives_at, settled_at, failure_code, failure_message,
        metadata, first_fact_at, last_fact_at
    )
    select
        p_id, told.merchant, told.gateway, told.account, coalesce(word.livemode, false),
        coalesce(word.gateway_id, ''), word.kind, coalesce(told.status, 'pending'), word.amount_minor, word.currency,
        word.fee_minor, word.reversed_minor, word.destination, word.batch_ref, word.reference, word.arrives_at,
        word.settled_at, case when told.status in ('failed', 'reversed') then word.failure_code end,
        case when told.status in ('failed', 'reversed') then word.failure_message end, word.metadata,
        told.first_fact_at, told.last_fact_at
    from jsonb_to_record(told.words) as word (
        livemode boolean, gateway_id text, kind text, amount_minor bigint, currency text, fee_minor bigint,
        reversed_minor bigint, destination text, batch_ref text, reference text, arrives_at timestamptz,
        settled_at timestamptz, failure_code text, failure_message text, metadata jsonb
    )
    on conflict (id) do update set
        livemode = excluded.livemode, gateway_id = excluded.gateway_id, kind = excluded.kind,
        status = excluded.status, amount_minor = excluded.amount_minor, currency = excluded.currency,
        fee_minor = excluded.fee_minor, reversed_minor = excluded.reversed_minor, destination = excluded.destination,
        batch_ref = excluded.batch_ref, reference = excluded.reference, arrives_at = excluded.arrives_at,
        settled_at = excluded.settled_at, failure_code = excluded.failure_code,
        failure_message = excluded.failure_message, metadata = excluded.metadata,
        first_fact_at = excluded.first_fact_at, last_fact_at = excluded.last_fact_at
    where (
        held.livemode, held.gateway_id, held.kind, held.status, held.amount_minor, held.currency, held.fee_minor,
        held.reversed_minor, held.destination, held.batch_ref, held.reference, held.arrives_at, held.settled_at,
        held.failure_code, held.failure_message, held.metadata, held.first_fact_at, held.last_fact_at
    ) is distinct from (
        excluded.livemode, excluded.gateway_id, excluded.kind, excluded.status, excluded.amount_minor,
        excluded.currency, excluded.fee_minor, excluded.reversed_minor, excluded.destination, excluded.batch_ref,
        excluded.reference, excluded.arrives_at, excluded.settled_at, excluded.failure_code, excluded.failure_message,
        excluded.metadata, excluded.first_fact_at, excluded.last_fact_at
    )
    returning held.status into new_status;
    return new_status;
end
$$;

-- Makes the row of a payment from all its facts and refunds: status by the highest step, every other word by the
-- newest fact that says it. The same facts give the same row, whatever the order of their arrival; no change writes
-- nothing and returns null. One payment at a time: a list of unknown length would be planned anew in every call.
create or replace function fold_payment(p_id bigint) returns text
language plpgsql as $$
declare
    told facts;
    words jsonb := '{}';
    step smallint := 0;
    first_fact_at timestamptz;
    first_received_at timestamptz;
    last_received_at timestamptz;
    completed_at timestamptz;
    refunds_known bigint;  -- all that we know of, whatever became of them
    refunds_completed bigint;
    new_status text;
begin
    -- A fact without a time says less than any with one.
    for told in
        select * from facts where kind = 'payment' and subject_id = p_id
        order by occurred_at nulls first, rank, said_by
    loop
        words := words || told.words;  -- what the newer one says lies over what the older one said
        step := greatest(step, told.rank);
        first_fact_at := least(first_fact_at, told.occurred_at);
        first_received_at := least(first_received_at, told.received_at);
        last_received_at := greatest(last_received_at, told.received_at);
        if told.words ->> 'status' = 'completed' then
            completed_at := least(
                completed_at,
                coalesce((told.words ->> 'completed_at')::timestamptz, told.occurred_at, told.received_at));
        end if;
    end loop;
    if first_received_at is null then  -- its facts have moved to the payment that it was joined with
        return null;
    end if;
    select sum(amount_minor), coalesce(sum(amount_minor) filter (where refunds.status = 'completed'), 0)
    into refunds_known, refunds_completed
    from refunds
    where payment_id = p_id and (refunds.currency = words ->> 'currency' or words ->> 'currency' is null);
    if refunds_known is not null then
        -- A total that the gateway says may hold a refund that we do not know yet, and one that has failed since.
        words := words || jsonb_build_object('refunded_minor', refunds_completed
            + greatest(coalesce((words ->> 'refunded_minor')::bigint, 0) - refunds_known, 0));
    end if;
    -- `told` is the newest of them now.
    insert into payments as held (
        id, merchant, gateway, account, livemode, status, amount_minor, received_minor, refunded_minor, currency,
        fee_minor, fee_currency, method, reference, customer_ref, email, subscription_ref, invoice_ref, failure_code,
        failure_message, status_reason, app, app_from, user_id, plan, metadata, first_fact_at, last_fact_at,
        completed_at
    )
    select
        p_id, told.merchant, told.gateway, told.account, coalesce(word.livemode, false),
        -- The ladder: 1 pending, 2 processing, 3 failed, 4 cancelled, 5 completed, 6 reversed; 0 says none.
        case
            when step = 5 and word.refunded_minor > 0 and word.refunded_minor >= word.received_minor then 'refunded'
            when step = 5 and word.refunded_minor > 0 then 'partially_refunded'
            else coalesce(
                (array['pending', 'processing', 'failed', 'cancelled', 'completed', 'cancelled'])[step], 'pending')
        end,
        word.amount_minor, word.received_minor, word.refunded_minor, word.currency, word.fee_minor, word.fee_currency,
        word.method, word.reference, word.customer_ref, word.email, word.subscription_ref, word.invoice_ref,
        case when step = 3 then word.failure_code end,
        case when step = 3 then word.failure_message end,
        case when step in (4, 6) then word.status_reason end,
        linked.app, linked.app_from, linked.user_id, word.plan, word.metadata,
        coalesce(first_fact_at, first_received_at), coalesce(told.occurred_at, last_received_at), completed_at
    from jsonb_to_record(words) as word (
        livemode boolean, amount_minor bigint, received_minor bigint, refunded_minor bigint, currency text,
        fee_minor bigint, fee_currency text, method text, reference text, customer_ref text, email text,
        subscription_ref text, invoice_ref text, failure_code text, failure_message text, status_reason text, app text,
        user_id text, plan text, metadata jsonb
    )
    cross join lateral app_of_payment(
        told.merchant, told.gateway, told.account, word.subscription_ref, word.customer_ref, word.plan, word.app,
        word.user_id
    ) as linked
    on conflict (id) do update set
        livemode = excluded.livemode, status = excluded.status, amount_minor = excluded.amount_minor,
        received_minor = excluded.received_minor, refunded_minor = excluded.refunded_minor,
        currency = excluded.currency, fee_minor = excluded.fee_minor, fee_currency = excluded.fee_currency,
        method = excluded.method, reference = excluded.reference, customer_ref = excluded.customer_ref,
        email = excluded.email, subscription_ref = excluded.subscription_ref, invoice_ref = excluded.invoice_ref,
        failure_code = excluded.failure_code, failure_message = excluded.failure_message,
        status_reason = excluded.status_reason, app = excluded.app, app_from = excluded.app_from,
        user_id = excluded.user_id, plan = excluded.plan, metadata = excluded.metadata,
        first_fact_at = excluded.first_fact_at, last_fact_at = excluded.last_fact_at,
        completed_at = excluded.completed_at
    where (
        held.livemode, held.status, held.amount_minor, held.received_minor, held.refunded_minor, held.currency,
        held.fee_minor, held.fee_currency, held.method, held.reference, held.customer_ref, held.email,
        held.subscription_ref, held.invoice_ref, held.failure_code, held.failure_message, held.status_reason,
        held.app, held.app_from, held.user_id, held.plan, held.metadata, held.first_fact_at, held.last_fact_at,
        held.completed_at
    ) is distinct from (
        excluded.livemode, excluded.status, excluded.amount_minor, excluded.received_minor, excluded.refunded_minor,
        excluded.currency, excluded.fee_minor, excluded.fee_currency, excluded.method, excluded.reference,
        excluded.customer_ref, excluded.email, excluded.subscription_ref, excluded.invoice_ref, excluded.failure_code,
        excluded.failure_message, excluded.status_reason, excluded.app, excluded.app_from, excluded.user_id,
        excluded.plan, excluded.metadata, excluded.first_fact_at, excluded.last_fact_at, excluded.completed_at
    )
    returning held.status into new_status;
    return new_status;
end
$$;

-- Locks the row of a subject, so that a fold that follows sees what a neighbour has committed.
create function lock_subject(p_kind text, p_id bigint) returns void
language plpgsql as $$
begin
    case p_kind
        when 'customer' then perform from gateway_customers where id = p_id for update;
        when 'subscription' then perform from subscriptions where id = p_id for update;
        when 'invoice' then perform from invoices where id = p_id for update;
        when 'refund' then perform from refunds where id = p_id for update;
        when 'dispute' then perform from disputes where id = p_id for update;
        when 'payout' then perform from payouts where id = p_id for update;
    end case;
end
$$;

-- Makes the row of a subject that is no payment; returns its status when the row was not what its facts say, else null.
create function fold_subject(p_kind text, p_id bigint) returns text
language plpgsql as $$
begin
    case p_kind
        when 'customer' then return fold_customer(p_id);
        when 'subscription' then return fold_subscription(p_id);
        when 'invoice' then return fold_invoice(p_id);
        when 'refund' then return fold_refund(p_id);
        when 'dispute' then return fold_dispute(p_id);
        when 'payout' then return fold_payout(p_id);
    end case;
end
$$;

-- Makes several subjects of one kind anew; returns those whose row was not what their facts say.
create function fold_subjects(p_kind text, p_ids bigint[]) returns table (subject_id bigint, subject_status text)
language plpgsql as $$
begin
    for subject_id in select distinct id from unnest(p_ids) as id order by id loop
        perform lock_subject(p_kind, subject_id);
        subject_status := fold_subject(p_kind, subject_id);
        if subject_status is not null then
            return next;
        end if;
    end loop;
end
$$;

-- A link that arrives late: what hangs on it is folded anew, and so finds its app.
create function follow_customer() returns trigger
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

create trigger follow_customer_insert after insert on gateway_customers
    for each row when (new.app is not null or new.user_id is not null) execute function follow_customer();
create trigger follow_customer_update after update on gateway_customers
    for each row when ((old.app, old.user_id) is distinct from (new.app, new.user_id))
    execute function follow_customer();

create function follow_subscription() returns trigger
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

create function follow_payment() returns trigger
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

-- Makes one payment of several: the first takes the names, facts and all that hangs on the others.
create function join_payments(p_ids bigint[]) returns bigint
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

-- Removes rows whose facts have all moved to the one that they were joined with; any other row stays.
create function drop_joined_away(p_kind text, p_ids bigint[]) returns void
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

revoke execute on function drop_joined_away(text, bigint[]) from public;
grant execute on function drop_joined_away(text, bigint[]) to gatehouse_intake, gatehouse_worker, gatehouse_ops;

-- Returns the subject that these names lead to, locked, or the id of a new one. Names that lead to several show them to
-- be one: the smallest id takes the names and facts of the others. That needs the account alone (GH001).
create function home_of_subject(
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

-- Returns the payments that the refunds of these names give back.
create function refunded_by(p_gateway text, p_account text, p_objects jsonb) returns bigint[]
language plpgsql as $$
begin
    return array(
        select distinct r.payment_id
        from jsonb_array_elements(p_objects) as named
        join subject_names sn on sn.gateway = p_gateway and sn.account = p_account and sn.kind = named ->> 'kind'
            and sn.object_id = named ->> 'id' and sn.subject_kind = 'refund'
        join refunds r on r.id = sn.subject_id
        where r.payment_id is not null);
end
$$;

-- Returns the payment of a refund or dispute; where it was known to be of another one, both are one money.
create function one_payment_of(p_kind text, p_id bigint, p_payment_id bigint, p_joining boolean) returns bigint
language plpgsql as $$
declare
    before bigint := case p_kind
        when 'refund' then (select payment_id from refunds where id = p_id)
        else (select payment_id from disputes where id = p_id) end;
begin
    if before is null or p_payment_id is null or before = p_payment_id then
        return coalesce(p_payment_id, before);
    end if;
    if not p_joining then
        raise exception using errcode = 'GH001', message = 'it was known to be of another payment';
    end if;
    return join_payments(array[before, p_payment_id]);
end
$$;

-- Says whether another event of the same moment said something else, and nothing newer has settled it: then no clock
-- tells which is true, and the gateway is asked.
create function two_words_at_once(p_fact jsonb, p_id bigint, p_said_by text, p_occurred_at timestamptz) returns boolean
language plpgsql as $$
begin
    return exists (
        select from facts f
        where f.kind = p_fact ->> 'kind' and f.subject_id = p_id and f.occurred_at = p_occurred_at
          and f.said_by <> p_said_by
          and exists (
              select from jsonb_each(f.words) as theirs join jsonb_each(p_fact -> 'words') as ours using (key)
              where theirs.value <> ours.value
          )
    ) and not exists (
        select from facts f
        where f.kind = p_fact ->> 'kind' and f.subject_id = p_id and f.occurred_at > p_occurred_at
    );
end
$$;

-- Notes an event of a payment or subscription for the app that it belongs to, as far as is known now.
create function log_app_transaction(p_event_row bigint, p_fact jsonb) returns void
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

-- Applies facts: {"payments": […], "others": […]}, the others in the order of their kinds. Gives each fact its row
-- (found by any of its names, or a new one), writes new names and the fact, and folds. Returns {changed, jobs}.
-- A fact whose names lead to several payments shows them to be one money; so does a refund or dispute that was known to
-- be of another payment. That needs the account alone (GH001 asks the caller to come again so): while nothing can be
-- joined away, the id that a name led to stays right until the end of every other recording.
create function apply_facts(
    p_merchant text, p_gateway text, p_account text, p_facts jsonb, p_said_by text, p_event_row bigint,
    p_job_id bigint, p_occurred_at timestamptz, p_received_at timestamptz, p_joining boolean
) returns jsonb
language plpgsql as $$
declare
    fact jsonb;
    -- The payments that the names lead to: of all facts, and of one. They stay right until we are done: the lock of
    -- each name is ours, and nobody can join payments without having the account alone.
    known bigint[] := payments_named(
        p_gateway, p_account, jsonb_path_query_array(p_facts, '$.payments[*].objects[*]'));
    known_to_fact bigint[] := '{}';
    home bigint;
    of_payment bigint;
    touched bigint[] := '{}';
    logged jsonb;
    new_status text;
    changed jsonb := '[]';
    open_questions jsonb := '[]';
begin
    -- Locked before any fact is read, in order of id, so that the fold sees what a neighbour has committed.
    foreach home in array known loop
        perform from payments where id = home for update;
    end loop;
    for fact in select * from jsonb_array_elements(p_facts -> 'payments') loop
        if known <> '{}' then
            known_to_fact := payments_named(p_gateway, p_account, fact -> 'objects');
        end if;
        home := coalesce(known_to_fact[1], nextval('payment_ids'));
        if cardinality(known_to_fact) > 1 then
            if not p_joining then
                raise exception using errcode = 'GH001', message = 'these names lead to several payments';
            end if;
            home := join_payments(known_to_fact);
        end if;
        insert into payment_objects (gateway, account, kind, object_id, merchant, payment_id)
        select p_gateway, p_account, named ->> 'kind', named ->> 'id', p_merchant, home
        from jsonb_array_elements(fact -> 'objects') as named
        on conflict (gateway, account, kind, object_id) do nothing;
        insert into facts (
            kind, subject_id, merchant, gateway, account, said_by, webhook_event_id, job_id, occurred_at,
            received_at, rank, words
        ) values (
            'payment', home, p_merchant, p_gateway, p_account, p_said_by, p_event_row, p_job_id, p_occurred_at,
            p_received_at, (fact ->> 'rank')::smallint, fact -> 'words'
        );
        touched := touched || home;
        if fact ? 'is_logged' then
            logged := fact || jsonb_build_object('id', home);
        end if;
    end loop;
    for fact in select * from jsonb_array_elements(p_facts -> 'others') loop
        if fact ->> 'kind' = 'refund' then  -- also of those that are about to be joined
            touched := touched || refunded_by(p_gateway, p_account, fact -> 'objects');
        end if;
        home := home_of_subject(
            p_merchant, p_gateway, p_account, fact ->> 'kind', fact -> 'objects', p_joining);
        insert into facts (
            kind, subject_id, merchant, gateway, account, said_by, webhook_event_id, job_id, occurred_at,
            received_at, rank, words
        ) values (
            fact ->> 'kind', home, p_merchant, p_gateway, p_account, p_said_by, p_event_row, p_job_id, p_occurred_at,
            p_received_at, (fact ->> 'rank')::smallint, fact -> 'words'
        );
        if fact -> 'words' ? 'payment' and fact ->> 'kind' in ('refund', 'dispute') then
            of_payment := (payments_named(p_gateway, p_account, fact -> 'words' -> 'payment'))[1];
            touched := touched || one_payment_of(fact ->> 'kind', home, of_payment, p_joining);
        end if;
        new_status := fold_subject(fact ->> 'kind', home);
        if new_status is not null then
            changed := changed || jsonb_build_object('kind', fact ->> 'kind', 'id', home, 'status', new_status);
        end if;
        if fact ? 'ask' and two_words_at_once(fact, home, p_said_by, p_occurred_at) then
            open_questions := open_questions || jsonb_build_object(
                'topic', 'refetch',
                'key', concat_ws('/', p_gateway, p_account, fact -> 'ask' ->> 'kind', fact -> 'ask' ->> 'id',
                    extract(epoch from p_occurred_at)::bigint),
                'arguments', fact -> 'ask' || jsonb_build_object('gateway', p_gateway, 'account', p_account));
        end if;
        if fact ? 'is_logged' then
            logged := fact || jsonb_build_object('id', home);
        end if;
    end loop;
    -- Those that were reached through their refunds are locked now, in order of id; the fold comes a statement later.
    -- One by one: for a list of unknown length Postgres might read the whole table. One that was joined away has no facts
    -- any more, and its fold does nothing.
    touched := array(select distinct id from unnest(touched) as id where id is not null order by id);
    foreach home in array touched loop
        perform from payments where id = home for update;
    end loop;
    foreach home in array touched loop
        new_status := fold_payment(home);
        if new_status is not null then
            changed := changed || jsonb_build_object('kind', 'payment', 'id', home, 'status', new_status);
        end if;
    end loop;
    if p_event_row is not null and logged is not null then
        perform log_app_transaction(p_event_row, logged);
    end if;
    return jsonb_build_object('changed', changed, 'jobs', case
        when open_questions = '[]' then '[]' else write_needs(p_merchant, p_event_row, open_questions) end);
end
$$;

-- Records one event: itself, its sealed bytes, its jobs, its facts. For one that is there already it writes nothing
-- and says since when: {duplicate_of, first_received_at}; else {event_row, jobs, changed}.
create function record_event(
    p_merchant text, p_gateway text, p_account text, p_event_id text, p_type text, p_livemode boolean,
    p_occurred_at timestamptz, p_received_at timestamptz, p_status text, p_reason text, p_reference text,
    p_signed_by text, p_request_id text, p_key_id text, p_sealed bytea, p_facts jsonb, p_needs jsonb,
    p_account_lock bigint, p_name_locks bigint[], p_joining boolean
) returns jsonb
language plpgsql as $$
declare
    event_row bigint;
    written_jobs jsonb;
    applied jsonb := '{"changed": [], "jobs": []}';
begin
    perform take_recording_locks(p_merchant, p_account_lock, p_name_locks, p_joining);
    insert into webhook_events (
        gateway, account, event_id, merchant, type, livemode, occurred_at, received_at, status, reason, reference,
        signed_by, request_id
    ) values (
        p_gateway, p_account, p_event_id, p_merchant, p_type, p_livemode, p_occurred_at, p_received_at, p_status,
        p_reason, p_reference, p_signed_by, p_request_id
    )
    on conflict (event_id, gateway, account) do nothing
    returning id into event_row;
    if event_row is null then
        -- Empty where the account has changed hands: the row belongs to a merchant whose rows we cannot see.
        return coalesce((
            select jsonb_build_object('duplicate_of', id, 'first_received_at', received_at)
            from webhook_events
            where event_id = p_event_id and gateway = p_gateway and account = p_account
        ), '{}');
    end if;
    perform set_config('gatehouse.event_row', event_row::text, true);
    insert into webhook_payloads (webhook_event_id, merchant, received_at, key_id, sealed)
    values (event_row, p_merchant, p_received_at, p_key_id, p_sealed);
    written_jobs := write_needs(p_merchant, event_row, p_needs);
    if p_facts <> '{}' then
        applied := apply_facts(
            p_merchant, p_gateway, p_account, p_facts, p_event_id, event_row, null, p_occurred_at, p_received_at,
            p_joining
        );
    end if;
    return jsonb_build_object(
        'event_row', event_row, 'jobs', written_jobs || (applied -> 'jobs'), 'changed', applied -> 'changed');
end
$$;

drop function reopen_event(
    text, text, text, text, timestamptz, timestamptz, text, text, text, jsonb, jsonb, bigint, bigint[], boolean);

-- Takes up again an event that failed or was ignored, with what we now make of it; {} when it is in another state.
create function reapply_event(
    p_merchant text, p_gateway text, p_account text, p_event_id text, p_occurred_at timestamptz,
    p_received_at timestamptz, p_status text, p_reason text, p_reference text, p_facts jsonb, p_needs jsonb,
    p_account_lock bigint, p_name_locks bigint[], p_joining boolean
) returns jsonb
language plpgsql as $$
declare
    event_row bigint;
    written_jobs jsonb;
    applied jsonb := '{"changed": [], "jobs": []}';
begin
    perform take_recording_locks(p_merchant, p_account_lock, p_name_locks, p_joining);
    update webhook_events
    set status = p_status, reason = p_reason, reference = p_reference, attempts = attempts + 1
    where event_id = p_event_id and gateway = p_gateway and account = p_account
      and status in ('received', 'failed', 'ignored')
    returning id into event_row;
    if event_row is null then
        return '{}';
    end if;
    perform set_config('gatehouse.event_row', event_row::text, true);
    written_jobs := write_needs(p_merchant, event_row, p_needs);
    if p_facts <> '{}' then
        applied := apply_facts(
            p_merchant, p_gateway, p_account, p_facts, p_event_id, event_row, null, p_occurred_at, p_received_at,
            p_joining
        );
    end if;
    return jsonb_build_object(
        'event_row', event_row, 'jobs', written_jobs || (applied -> 'jobs'), 'changed', applied -> 'changed');
end
$$;

-- migrate: down

drop function reapply_event(
    text, text, text, text, timestamptz, timestamptz, text, text, text, jsonb, jsonb, bigint, bigint[], boolean);

-- Takes up again an event that failed or was ignored, with what we now make of it; {} when it is in another state.
create function reopen_event(
    p_merchant text, p_gateway text, p_account text, p_event_id text, p_occurred_at timestamptz,
    p_received_at timestamptz, p_status text, p_reason text, p_reference text, p_facts jsonb, p_needs jsonb,
    p_account_lock bigint, p_name_locks bigint[], p_joining boolean
) returns jsonb
language plpgsql as $$
declare
    event_row bigint;
    written_jobs jsonb;
    changed_payments jsonb := '[]';
begin
    perform take_recording_locks(p_merchant, p_account_lock, p_name_locks, p_joining);
    update webhook_events
    set status = p_status, reason = p_reason, reference = p_reference, attempts = attempts + 1
    where event_id = p_event_id and gateway = p_gateway and account = p_account
      and status in ('received', 'failed', 'ignored')
    returning id into event_row;
    if event_row is null then
        return '{}';
    end if;
    perform set_config('gatehouse.event_row', event_row::text, true);
    written_jobs := write_needs(p_merchant, event_row, p_needs);
    if p_facts <> '[]' then
        changed_payments := apply_payment_facts(
            p_merchant, p_gateway, p_account, p_facts, p_event_id, event_row, null, p_occurred_at, p_received_at,
            p_joining
        );
    end if;
    return jsonb_build_object('event_row', event_row, 'jobs', written_jobs, 'payments', changed_payments);
end
$$;

drop function record_event(
    text, text, text, text, text, boolean, timestamptz, timestamptz, text, text, text, text, text, text, bytea, jsonb,
    jsonb, bigint, bigint[], boolean);
drop function apply_facts(text, text, text, jsonb, text, bigint, bigint, timestamptz, timestamptz, boolean);
drop function log_app_transaction(bigint, jsonb);
drop function two_words_at_once(jsonb, bigint, text, timestamptz);
drop function one_payment_of(text, bigint, bigint, boolean);
drop function refunded_by(text, text, jsonb);
drop function home_of_subject(text, text, text, text, jsonb, boolean);
drop function drop_joined_away(text, bigint[]);
drop function join_payments(bigint[]);
drop trigger follow_payment_insert on payments;
drop trigger follow_payment_update on payments;
drop trigger follow_subscription_insert on subscriptions;
drop trigger follow_subscription_update on subscriptions;
drop trigger follow_customer_insert on gateway_customers;
drop trigger follow_customer_update on gateway_customers;
drop function follow_payment();
drop function follow_subscription();
drop function follow_customer();
drop function fold_subjects(text, bigint[]);
drop function fold_subject(text, bigint);
drop function lock_subject(text, bigint);

-- Makes the row of a payment from all its facts: status by the highest step, every other word by the newest fact that
-- says it. The same facts give the same row, whatever the order of their arrival; no change writes nothing and returns
-- null. One payment at a time: for a list of unknown length Postgres would plan this anew in every call.
create or replace function fold_payment(p_id bigint) returns text
language plpgsql as $$
declare
    told facts;
    words jsonb := '{}';
    step smallint := 0;
    first_fact_at timestamptz;
    first_received_at timestamptz;
    last_received_at timestamptz;
    completed_at timestamptz;
    new_status text;
begin
    -- A fact without a time says less than any with one.
    for told in
        select * from facts where kind = 'payment' and subject_id = p_id
        order by occurred_at nulls first, rank, said_by
    loop
        words := words || told.words;  -- what the newer one says lies over what the older one said
        step := greatest(step, told.rank);
        first_fact_at := least(first_fact_at, told.occurred_at);
        first_received_at := least(first_received_at, told.received_at);
        last_received_at := greatest(last_received_at, told.received_at);
        if told.words ->> 'status' = 'completed' then
            completed_at := least(
                completed_at,
                coalesce((told.words ->> 'completed_at')::timestamptz, told.occurred_at, told.received_at));
        end if;
    end loop;
    if first_received_at is null then  -- its facts have moved to the payment that it was joined with
        return null;
    end if;
    -- `told` is the newest of them now.
    insert into payments as held (
        id, merchant, gateway, account, livemode, status, amount_minor, received_minor, refunded_minor, currency,
        fee_minor, fee_currency, method, reference, customer_ref, failure_code, failure_message, status_reason,
        metadata, first_fact_at, last_fact_at, completed_at
    )
    select
        p_id, told.merchant, told.gateway, told.account, word.livemode,
        -- The ladder: 1 pending, 2 processing, 3 failed, 4 cancelled, 5 completed, 6 reversed; 0 says none.
        case
            when step = 5 and word.refunded_minor > 0 and word.refunded_minor >= word.received_minor then 'refunded'
            when step = 5 and word.refunded_minor > 0 then 'partially_refunded'
            else coalesce(
                (array['pending', 'processing', 'failed', 'cancelled', 'completed', 'cancelled'])[step], 'pending')
        end,
        word.amount_minor, word.received_minor, word.refunded_minor, word.currency, word.fee_minor, word.fee_currency,
        word.method, word.reference, word.customer_ref,
        case when step = 3 then word.failure_code end,
        case when step = 3 then word.failure_message end,
        case when step in (4, 6) then word.status_reason end,
        word.metadata, coalesce(first_fact_at, first_received_at), coalesce(told.occurred_at, last_received_at),
        completed_at
    from jsonb_to_record(words) as word (
        livemode boolean, amount_minor bigint, received_minor bigint, refunded_minor bigint, currency text,
        fee_minor bigint, fee_currency text, method text, reference text, customer_ref text, failure_code text,
        failure_message text, status_reason text, metadata jsonb
    )
    on conflict (id) do update set
        livemode = excluded.livemode, status = excluded.status, amount_minor = excluded.amount_minor,
        received_minor = excluded.received_minor, refunded_minor = excluded.refunded_minor,
        currency = excluded.currency, fee_minor = excluded.fee_minor, fee_currency = excluded.fee_currency,
        method = excluded.method, reference = excluded.reference, customer_ref = excluded.customer_ref,
        failure_code = excluded.failure_code, failure_message = excluded.failure_message,
        status_reason = excluded.status_reason, metadata = excluded.metadata,
        first_fact_at = excluded.first_fact_at, last_fact_at = excluded.last_fact_at,
        completed_at = excluded.completed_at
    where (
        held.livemode, held.status, held.amount_minor, held.received_minor, held.refunded_minor, held.currency,
        held.fee_minor, held.fee_currency, held.method, held.reference, held.customer_ref, held.failure_code,
        held.failure_message, held.status_reason, held.metadata, held.first_fact_at, held.last_fact_at,
        held.completed_at
    ) is distinct from (
        excluded.livemode, excluded.status, excluded.amount_minor, excluded.received_minor, excluded.refunded_minor,
        excluded.currency, excluded.fee_minor, excluded.fee_currency, excluded.method, excluded.reference,
        excluded.customer_ref, excluded.failure_code, excluded.failure_message, excluded.status_reason,
        excluded.metadata, excluded.first_fact_at, excluded.last_fact_at, excluded.completed_at
    )
    returning held.status into new_status;
    return new_status;
end
$$;

drop function fold_payout(bigint);
drop function fold_dispute(bigint);
drop function fold_refund(bigint);
drop function fold_invoice(bigint);
drop function fold_subscription(bigint);
drop function fold_customer(bigint);
drop function app_of_subscription(text, text, text, text, text, text, text, text);
drop function app_of_payment(text, text, text, text, text, text, text, text);
drop function app_of_plan_or_customer(text, text, text, text, text);
drop function told_of(text, bigint, boolean);
