-- What a gateway tells of a payment and of its invoice when it is asked for their details: where the payment came from,
-- what of it is a surcharge, whose the invoice is.
-- migrate: up

-- All may be null and have no default, so no row is written anew.
alter table payments add column source text;
alter table payments add column surcharge_minor bigint;
alter table payments add column invoice_number text;
-- Not checked for the rows that are there: none of them has one.
alter table payments add constraint payments_surcharge_minor_check check (surcharge_minor >= 0) not valid;
comment on column payments.source is
    'how it was made, in the gateway''s word: Recurring, Invoice, QuickPay, API, Terminal …';
comment on column payments.surcharge_minor is
    'what of amount_minor the payer bore for paying by card; an invoice is paid by amount_minor less this';
comment on column payments.invoice_number is
    'the merchant''s number of the invoice; invoice_ref is the gateway''s id of it';

alter table invoices add column customer_name text;
alter table invoices add column billing_address jsonb;
alter table invoices add column data_sent_status text not null default 'pending';
alter table invoices add constraint invoices_data_sent_status_check
    check (data_sent_status in ('pending', 'sent', 'failed')) not valid;
comment on column invoices.billing_address is
    '{name, address1, address2, city, state, zip, country}, as far as it is said';
comment on column invoices.data_sent_status is
    'whether the invoice was passed on to whoever fulfils it: pending until somebody notes that it was sent, or that '
    'sending failed. No fact of a gateway says it, so no fold changes it.';

create or replace function without_personal_words(p_kind text, p_words jsonb) returns jsonb
language sql immutable as $$
    select (p_words - array[
            'email', 'name', 'phone', 'description', 'lines', 'failure_message', 'cancel_reason', 'metadata',
            'customer_name', 'billing_address']
        - case when p_kind = 'refund' then array['reason'] else '{}' end
        - case when p_kind = 'payout' then array['destination'] else '{}' end
        - array(select each.key from jsonb_each(p_words) as each
                where each.key in ('user_id', 'reference') and each.value::text like '%@%'))
        || coalesce((
            select jsonb_build_object('metadata', jsonb_object_agg(said.key, said.value))
            from jsonb_each(case when jsonb_typeof(p_words -> 'metadata') = 'object' then p_words -> 'metadata' end)
                as said
            where said.key in ('order_id', 'order_number', 'app', 'plan') and said.value::text not like '%@%'
            having count(*) > 0), '{}')
$$;

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
        completed_at, source, surcharge_minor, invoice_number
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
        coalesce(first_fact_at, first_received_at), coalesce(told.occurred_at, last_received_at), completed_at,
        word.source, word.surcharge_minor, word.invoice_number
    from jsonb_to_record(words) as word (
        livemode boolean, amount_minor bigint, received_minor bigint, refunded_minor bigint, currency text,
        fee_minor bigint, fee_currency text, method text, reference text, customer_ref text, email text,
        subscription_ref text, invoice_ref text, failure_code text, failure_message text, status_reason text, app text,
        user_id text, plan text, metadata jsonb, source text, surcharge_minor bigint, invoice_number text
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
        completed_at = excluded.completed_at, source = excluded.source, surcharge_minor = excluded.surcharge_minor,
        invoice_number = excluded.invoice_number
    where (
        held.livemode, held.status, held.amount_minor, held.received_minor, held.refunded_minor, held.currency,
        held.fee_minor, held.fee_currency, held.method, held.reference, held.customer_ref, held.email,
        held.subscription_ref, held.invoice_ref, held.failure_code, held.failure_message, held.status_reason,
        held.app, held.app_from, held.user_id, held.plan, held.metadata, held.first_fact_at, held.last_fact_at,
        held.completed_at, held.source, held.surcharge_minor, held.invoice_number
    ) is distinct from (
        excluded.livemode, excluded.status, excluded.amount_minor, excluded.received_minor, excluded.refunded_minor,
        excluded.currency, excluded.fee_minor, excluded.fee_currency, excluded.method, excluded.reference,
        excluded.customer_ref, excluded.email, excluded.subscription_ref, excluded.invoice_ref, excluded.failure_code,
        excluded.failure_message, excluded.status_reason, excluded.app, excluded.app_from, excluded.user_id,
        excluded.plan, excluded.metadata, excluded.first_fact_at, excluded.last_fact_at, excluded.completed_at,
        excluded.source, excluded.surcharge_minor, excluded.invoice_number
    )
    returning held.status into new_status;
    return new_status;
end
$$;

-- Makes the row of an invoice from all its facts.
create or replace function fold_invoice(p_id bigint) returns text
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
        period_start, period_end, description, lines, metadata, customer_name, billing_address, first_fact_at,
        last_fact_at
    )
    select
        p_id, told.merchant, told.gateway, told.account, coalesce(word.livemode, false),
        coalesce(word.gateway_id, ''), coalesce(told.status, 'open'), word.number, word.total_minor, word.due_minor,
        word.paid_minor, word.currency, word.customer_ref, word.email, word.subscription_ref, word.attempts,
        word.next_attempt_at, word.issued_at, word.due_at, word.paid_at, word.period_start, word.period_end,
        word.description, word.lines, word.metadata, word.customer_name, word.billing_address, told.first_fact_at,
        told.last_fact_at
    from jsonb_to_record(told.words) as word (
        livemode boolean, gateway_id text, number text, total_minor bigint, due_minor bigint, paid_minor bigint,
        currency text, customer_ref text, email text, subscription_ref text, attempts integer,
        next_attempt_at timestamptz, issued_at timestamptz, due_at timestamptz, paid_at timestamptz,
        period_start timestamptz, period_end timestamptz, description text, lines jsonb, metadata jsonb,
        customer_name text, billing_address jsonb
    )
    on conflict (id) do update set
        livemode = excluded.livemode, gateway_id = excluded.gateway_id, status = excluded.status,
        number = excluded.number, total_minor = excluded.total_minor, due_minor = excluded.due_minor,
        paid_minor = excluded.paid_minor, currency = excluded.currency, customer_ref = excluded.customer_ref,
        email = excluded.email, subscription_ref = excluded.subscription_ref, attempts = excluded.attempts,
        next_attempt_at = excluded.next_attempt_at, issued_at = excluded.issued_at, due_at = excluded.due_at,
        paid_at = excluded.paid_at, period_start = excluded.period_start, period_end = excluded.period_end,
        description = excluded.description, lines = excluded.lines, metadata = excluded.metadata,
        customer_name = excluded.customer_name, billing_address = excluded.billing_address,
        first_fact_at = excluded.first_fact_at, last_fact_at = excluded.last_fact_at
    where (
        held.livemode, held.gateway_id, held.status, held.number, held.total_minor, held.due_minor, held.paid_minor,
        held.currency, held.customer_ref, held.email, held.subscription_ref, held.attempts, held.next_attempt_at,
        held.issued_at, held.due_at, held.paid_at, held.period_start, held.period_end, held.description, held.lines,
        held.metadata, held.customer_name, held.billing_address, held.first_fact_at, held.last_fact_at
    ) is distinct from (
        excluded.livemode, excluded.gateway_id, excluded.status, excluded.number, excluded.total_minor,
        excluded.due_minor, excluded.paid_minor, excluded.currency, excluded.customer_ref, excluded.email,
        excluded.subscription_ref, excluded.attempts, excluded.next_attempt_at, excluded.issued_at, excluded.due_at,
        excluded.paid_at, excluded.period_start, excluded.period_end, excluded.description, excluded.lines,
        excluded.metadata, excluded.customer_name, excluded.billing_address, excluded.first_fact_at,
        excluded.last_fact_at
    )
    returning held.status into new_status;
    return new_status;
end
$$;

drop trigger invoices_audit_insert on invoices;
drop trigger invoices_audit_update on invoices;
drop trigger invoices_audit_delete on invoices;
create trigger invoices_audit_insert after insert on invoices
    for each row execute function write_audit(
        'email', 'customer_ref', 'customer_name', 'billing_address', 'description', 'lines', 'metadata');
create trigger invoices_audit_update after update on invoices
    for each row when (old.* is distinct from new.*)
    execute function write_audit(
        'email', 'customer_ref', 'customer_name', 'billing_address', 'description', 'lines', 'metadata');
create trigger invoices_audit_delete after delete on invoices
    for each row execute function write_audit(
        'email', 'customer_ref', 'customer_name', 'billing_address', 'description', 'lines', 'metadata');

-- migrate: down

drop trigger invoices_audit_insert on invoices;
drop trigger invoices_audit_update on invoices;
drop trigger invoices_audit_delete on invoices;
create trigger invoices_audit_insert after insert on invoices
    for each row execute function write_audit('email', 'customer_ref', 'description', 'lines', 'metadata');
create trigger invoices_audit_update after update on invoices
    for each row when (old.* is distinct from new.*)
    execute function write_audit('email', 'customer_ref', 'description', 'lines', 'metadata');
create trigger invoices_audit_delete after delete on invoices
    for each row execute function write_audit('email', 'customer_ref', 'description', 'lines', 'metadata');

create or replace function fold_invoice(p_id bigint) returns text
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

create or replace function without_personal_words(p_kind text, p_words jsonb) returns jsonb
language sql immutable as $$
    select (p_words - array[
            'email', 'name', 'phone', 'description', 'lines', 'failure_message', 'cancel_reason', 'metadata']
        - case when p_kind = 'refund' then array['reason'] else '{}' end
        - case when p_kind = 'payout' then array['destination'] else '{}' end
        - array(select each.key from jsonb_each(p_words) as each
                where each.key in ('user_id', 'reference') and each.value::text like '%@%'))
        || coalesce((
            select jsonb_build_object('metadata', jsonb_object_agg(said.key, said.value))
            from jsonb_each(case when jsonb_typeof(p_words -> 'metadata') = 'object' then p_words -> 'metadata' end)
                as said
            where said.key in ('order_id', 'order_number', 'app', 'plan') and said.value::text not like '%@%'
            having count(*) > 0), '{}')
$$;

alter table invoices drop column customer_name, drop column billing_address, drop column data_sent_status;
alter table payments drop column source, drop column surcharge_minor, drop column invoice_number;
