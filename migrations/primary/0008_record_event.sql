-- How an event becomes rows: functions, so that a server session plans their statements once and not for every event
-- (docs/decisions/0006). Each statement in them takes a new snapshot, so what follows a lock sees what it waited for.
-- migrate: up

-- Says for whom we work and takes the locks: the account (shared, or alone to join payments), then every name that the
-- event speaks of. The caller sorts the names, so that two recordings never wait for each other in a ring.
create function take_recording_locks(p_merchant text, p_account_lock bigint, p_name_locks bigint[], p_joining boolean)
returns void
language plpgsql as $$
begin
    perform set_config('gatehouse.merchant', p_merchant, true);
    if p_joining then
        perform pg_advisory_xact_lock(p_account_lock);
    else
        perform pg_advisory_xact_lock_shared(p_account_lock);
    end if;
    perform pg_advisory_xact_lock(name_lock) from unnest(p_name_locks) as name_lock;
end
$$;

-- Makes the row of a payment from all its facts: status by the highest step, every other word by the newest fact that
-- says it. The same facts give the same row, whatever the order of their arrival; no change writes nothing and returns
-- null. One payment at a time: for a list of unknown length Postgres would plan this anew in every call.
create function fold_payment(p_id bigint) returns text
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

-- Makes several payments anew; returns those whose row was not what their facts say.
create function fold_payments(p_ids bigint[]) returns table (payment_id bigint, payment_status text)
language plpgsql as $$
begin
    for payment_id in select distinct id from unnest(p_ids) as id order by id loop
        -- Locked before its facts are read, so that the fold sees what a neighbour has committed.
        perform from payments where id = payment_id for update;
        payment_status := fold_payment(payment_id);
        if payment_status is not null then
            return next;
        end if;
    end loop;
end
$$;

-- Returns the payments that these names lead to, each once, in order of id.
create function payments_named(p_gateway text, p_account text, p_objects jsonb) returns bigint[]
language plpgsql as $$
begin
    return array(
        select distinct found.payment_id
        from jsonb_array_elements(p_objects) as named,
             lateral (  -- with its limit, so that a plan made while the table is small does not read all of it later
                 select po.payment_id from payment_objects po
                 where po.gateway = p_gateway and po.account = p_account
                   and po.kind = named ->> 'kind' and po.object_id = named ->> 'id'
                 limit 1
             ) as found
        order by found.payment_id
    );
end
$$;

-- Gives each fact its payment (found by any of its names, or a new one), writes new names and the fact, and folds.
-- A fact whose names lead to several payments shows them to be one money: the smallest id takes the names and facts of
-- the others. That needs the account alone (GH001 asks the caller to come again so): while no payment can be joined
-- away, the id that a name led to stays right until the end of every other recording.
create function apply_payment_facts(
    p_merchant text, p_gateway text, p_account text, p_facts jsonb, p_said_by text, p_event_row bigint,
    p_job_id bigint, p_occurred_at timestamptz, p_received_at timestamptz, p_joining boolean
) returns jsonb
language plpgsql as $$
declare
    fact jsonb;
    -- The payments that the names lead to: of all facts, and of one. They stay right until we are done: the lock of
    -- each name is ours, and nobody can join payments without having the account alone.
    known bigint[] := payments_named(p_gateway, p_account, jsonb_path_query_array(p_facts, '$[*].objects[*]'));
    known_to_fact bigint[] := '{}';
    home bigint;
    touched bigint[] := '{}';
    new_status text;
    changed jsonb := '[]';
begin
    -- Locked before any fact is read, in order of id, so that the fold sees what a neighbour has committed.
    foreach home in array known loop
        perform from payments where id = home for update;
    end loop;
    for fact in select * from jsonb_array_elements(p_facts) loop
        if known <> '{}' then
            known_to_fact := payments_named(p_gateway, p_account, fact -> 'objects');
        end if;
        home := coalesce(known_to_fact[1], nextval('payment_ids'));
        if cardinality(known_to_fact) > 1 then
            if not p_joining then
                raise exception using errcode = 'GH001', message = 'these names lead to several payments';
            end if;
            update payment_objects set payment_id = home where payment_id = any (known_to_fact[2:]);
            update facts set subject_id = home where kind = 'payment' and subject_id = any (known_to_fact[2:]);
            update payments set merged_into = home
            where id = any (known_to_fact[2:]) or merged_into = any (known_to_fact[2:]);
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
    end loop;
    foreach home in array touched loop
        new_status := fold_payment(home);
        if new_status is not null then
            changed := changed || jsonb_build_object('id', home, 'status', new_status);
        end if;
    end loop;
    return changed;
end
$$;

-- Writes the jobs that an event leaves, in order of their keys; one that is there already under its key stays as it is.
create function write_needs(p_merchant text, p_event_row bigint, p_needs jsonb) returns jsonb
language plpgsql as $$
declare
    need jsonb;
    job bigint;
    written jsonb := '[]';
begin
    for need in select value from jsonb_array_elements(p_needs) order by value ->> 'topic', value ->> 'key' loop
        insert into jobs (topic, business_key, merchant, arguments, webhook_event_id)
        values (need ->> 'topic', need ->> 'key', p_merchant, need -> 'arguments', p_event_row)
        on conflict (topic, business_key) do nothing
        returning id into job;
        if found then
            written := written || jsonb_build_object('id', job, 'topic', need ->> 'topic');
        end if;
    end loop;
    return written;
end
$$;

-- Records one event: itself, its sealed bytes, its jobs, its facts. For one that is there already it writes nothing
-- and says since when: {duplicate_of, first_received_at}; else {event_row, jobs, payments}.
create function record_event(
    p_merchant text, p_gateway text, p_account text, p_event_id text, p_type text, p_livemode boolean,
    p_occurred_at timestamptz, p_received_at timestamptz, p_status text, p_reason text, p_reference text,
    p_signed_by text, p_key_id text, p_sealed bytea, p_facts jsonb, p_needs jsonb, p_account_lock bigint, p_name_locks bigint[],
    p_joining boolean
) returns jsonb
language plpgsql as $$
declare
    event_row bigint;
    written_jobs jsonb;
    changed_payments jsonb := '[]';
begin
    perform take_recording_locks(p_merchant, p_account_lock, p_name_locks, p_joining);
    insert into webhook_events (
        gateway, account, event_id, merchant, type, livemode, occurred_at, received_at, status, reason, reference,
        signed_by
    ) values (
        p_gateway, p_account, p_event_id, p_merchant, p_type, p_livemode, p_occurred_at, p_received_at, p_status,
        p_reason, p_reference, p_signed_by
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
    if p_facts <> '[]' then
        changed_payments := apply_payment_facts(
            p_merchant, p_gateway, p_account, p_facts, p_event_id, event_row, null, p_occurred_at, p_received_at,
            p_joining
        );
    end if;
    return jsonb_build_object('event_row', event_row, 'jobs', written_jobs, 'payments', changed_payments);
end
$$;

-- Takes up again an event that failed or was ignored, with what we now make of it; {} when it is in another state.
create function reopen_event(
    p_merchant text, p_gateway text, p_account text, p_event_id text, p_occurred_at timestamptz,
    p_received_at timestamptz, p_status text, p_reason text, p_reference text, p_facts jsonb, p_needs jsonb, p_account_lock bigint, p_name_locks bigint[],
    p_joining boolean
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

-- migrate: down

drop function reopen_event(
    text, text, text, text, timestamptz, timestamptz, text, text, text, jsonb, jsonb, bigint, bigint[], boolean);
drop function record_event(
    text, text, text, text, text, boolean, timestamptz, timestamptz, text, text, text, text, text, bytea, jsonb, jsonb,
    bigint, bigint[], boolean);
drop function write_needs(text, bigint, jsonb);
drop function apply_payment_facts(
    text, text, text, jsonb, text, bigint, bigint, timestamptz, timestamptz, boolean);
drop function payments_named(text, text, jsonb);
drop function fold_payments(bigint[]);
drop function fold_payment(bigint);
drop function take_recording_locks(text, bigint, bigint[], boolean);
