-- Refunds that we ask for: a request, the fact that it is pending, and the job that sends it, written together.
-- migrate: up

-- `state` is what became of the asking; what became of the money says the refund, which is found by
-- the name ("gatehouse_refund", id).
create table refund_requests (
    id uuid primary key default gen_random_uuid(),
    merchant text not null,
    payment_id bigint not null references payments (id),
    gateway text not null,
    account text not null,
    amount_minor bigint not null check (amount_minor > 0),
    currency text not null,
    reason text,
    -- pending: not asked yet, or not answered; sending: the gateway is being asked, and may have done it; sent: the
    -- gateway answered; failed: it refused, or a person gave up; unknown: nobody knows, and a person has to look.
    state text not null default 'pending' check (state in ('pending', 'sending', 'sent', 'failed', 'unknown')),
    failure text,
    actor text not null,
    idempotency_key text,
    asked_minor bigint,  -- as it was asked for: null for all that is left
    job_id bigint not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create unique index refund_requests_key on refund_requests (merchant, idempotency_key)
    where idempotency_key is not null;
create index refund_requests_newest on refund_requests (merchant, created_at desc, id desc);
create index refund_requests_payment on refund_requests (payment_id);
create index refund_requests_open on refund_requests (merchant, created_at) where state in ('sending', 'unknown');

alter table refund_requests enable row level security, force row level security;
create policy own_merchant on refund_requests to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on refund_requests to gatehouse_worker, gatehouse_ops, current_user using (true);
grant select on refund_requests to gatehouse_api, gatehouse_worker, gatehouse_ops;
grant update (state, failure, updated_at) on refund_requests to gatehouse_worker, gatehouse_ops;

-- The lock that recordings take on an account, as `intake/record.py` computes it.
create function account_lock(p_gateway text, p_account text) returns bigint
language sql immutable as $$
    select ('x' || encode(substr(sha256(convert_to(p_gateway || '/' || p_account, 'UTF8')), 1, 8), 'hex'))
        ::bit(64)::bigint
$$;

-- Asks for a refund of a payment, of all that is left where no amount is given. Never more than is left, whoever else
-- asks at the same moment: the payment is locked first, and what is pending counts. Leaves the id in gatehouse.refund.
create function request_refund(
    p_payment_id bigint, p_amount_minor bigint, p_reason text, p_idempotency_key text, p_gateways text[],
    p_full_only text[]
) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    merchant_now text := working_for();
    paid payments;
    held refund_requests;
    left_minor bigint;
    amount bigint := p_amount_minor;
    names jsonb;
begin
    if p_idempotency_key is not null then
        perform pg_advisory_xact_lock(hashtextextended(merchant_now || '/refund key/' || p_idempotency_key, 0));
        select * into held from refund_requests
        where merchant = merchant_now and idempotency_key = p_idempotency_key;
        if held.id is not null then
            if (held.payment_id, held.asked_minor, held.reason)
                is distinct from (p_payment_id, p_amount_minor, p_reason) then
                raise exception using errcode = 'GH004',
                    message = 'the idempotency key was used for another refund';
            end if;
            perform set_config('gatehouse.refund', held.id::text, true);
            return;
        end if;
    end if;
    select p.* into paid from payments named join payments p on p.id = coalesce(named.merged_into, named.id)
    where named.id = p_payment_id and named.merchant = merchant_now and p.merchant = merchant_now;
    if paid.id is null then
        raise exception using errcode = 'GH008', message = 'there is no such payment';
    end if;
    -- As a recording does: the account first, so that nothing is joined meanwhile, then the payment.
    perform pg_advisory_xact_lock_shared(account_lock(paid.gateway, paid.account));
    select * into paid from payments where id = (select coalesce(merged_into, id) from payments where id = paid.id)
    for update;
    if paid.gateway <> all (p_gateways) then
        raise exception using errcode = 'GH009', 
            message = 'refunds at ' || paid.gateway || ' are made at ' || paid.gateway;
    elsif paid.status not in ('completed', 'partially_refunded', 'refunded') then
        raise exception using errcode = 'GH009', message = 'a payment that is ' || paid.status || ' cannot be refunded';
    end if;
    left_minor := greatest(paid.received_minor - coalesce(paid.refunded_minor, 0) - coalesce((
        select sum(amount_minor) from refunds where payment_id = paid.id and status = 'pending'), 0), 0);
    amount := coalesce(amount, left_minor);
    if left_minor = 0 then
        raise exception using errcode = 'GH007', constraint = '0',
            message = 'nothing is left of this payment to refund';
    elsif amount > left_minor then
        raise exception using errcode = 'GH007', constraint = left_minor::text,
            message = amount || ' is more than what is left of this payment: ' || left_minor;
    elsif amount < 1 then
        perform refuse_field('amount_minor', 'must be at least 1');
    elsif paid.gateway = any (p_full_only) and amount <> paid.received_minor then
        perform refuse_field('amount_minor', paid.gateway || ' refunds whole payments only: ' || paid.received_minor);
    end if;
    select jsonb_agg(jsonb_build_object('kind', kind, 'id', object_id) order by kind, object_id) into names
    from payment_objects where payment_id = paid.id;
    held.id := gen_random_uuid();
    insert into jobs (topic, business_key, merchant, arguments)
    values ('send_refund', held.id::text, merchant_now, jsonb_build_object(
        'request', held.id, 'gateway', paid.gateway, 'account', paid.account, 'livemode', paid.livemode,
        'payment', names, 'amount_minor', amount, 'currency', paid.currency))
    returning id into held.job_id;
    insert into refund_requests (
        id, merchant, payment_id, gateway, account, amount_minor, currency, reason, actor, idempotency_key,
        asked_minor, job_id
    ) values (
        held.id, merchant_now, paid.id, paid.gateway, paid.account, amount, paid.currency, p_reason,
        coalesce(nullif(current_setting('gatehouse.actor', true), ''), session_user), p_idempotency_key,
        p_amount_minor, held.job_id
    );
    -- Without a time: whatever the gateway says of it lies over this.
    perform apply_facts(
        merchant_now, paid.gateway, paid.account,
        jsonb_build_object('payments', '[]'::jsonb, 'others', jsonb_build_array(jsonb_build_object(
            'kind', 'refund', 'rank', 1,
            'objects', jsonb_build_array(jsonb_build_object('kind', 'gatehouse_refund', 'id', held.id)),
            'words', jsonb_strip_nulls(jsonb_build_object(
                'status', 'pending', 'amount_minor', amount, 'currency', paid.currency, 'reason', p_reason,
                'gateway_id', held.id, 'payment', names, 'livemode', paid.livemode))))),
        'request ' || held.id, null, held.job_id, null, now(), false);
    perform set_config('gatehouse.refund', held.id::text, true);
end
$$;

-- Notes what became of asking the gateway for a refund.
create function note_refund(p_id uuid, p_state text, p_failure text) returns void
language plpgsql as $$
begin
    update refund_requests set state = p_state, failure = p_failure, updated_at = now()
    where id = p_id and (state, failure) is distinct from (p_state, p_failure);
end
$$;

-- Lets the job of a refund that nobody knows about ask the gateway anew: a person has seen that it was not made.
create function send_refund_again(p_id uuid) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    held refund_requests;
begin
    select * into held from refund_requests where id = p_id and merchant = working_for() for update;
    if held.id is null then
        raise exception using errcode = 'GH008', message = 'there is no such refund';
    elsif held.state <> 'unknown' then
        raise exception using errcode = 'GH009', message = 'the refund is ' || held.state || ', not unknown';
    end if;
    update refund_requests set state = 'pending', failure = null, updated_at = now() where id = held.id;
    update jobs set status = 'waiting', attempts = 0, due_at = now(), ring_after = now(), finished_at = null,
        lease_token = null, lease_until = null
    where id = held.job_id;
end
$$;

revoke execute on function
    request_refund(bigint, bigint, text, text, text[], text[]), send_refund_again(uuid)
from public;
grant execute on function request_refund(bigint, bigint, text, text, text[], text[])
to gatehouse_api, gatehouse_worker, gatehouse_ops;
grant execute on function send_refund_again(uuid) to gatehouse_ops;

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
    where payment_id = p_id and (refunds.currency = words ->> 'currency' or words ->> 'currency' is null)
      -- One that only we know of is in no total of the gateway's: it was not sent yet, or was refused.
      and exists (
          select from subject_names named
          where named.subject_kind = 'refund' and named.subject_id = refunds.id and named.kind <> 'gatehouse_refund');
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

-- migrate: down

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

drop function send_refund_again(uuid);
drop function note_refund(uuid, text, text);
drop function request_refund(bigint, bigint, text, text, text[], text[]);
drop function account_lock(text, text);
drop table refund_requests;
