-- The schema that the migrations make, read from the catalogue: to see it whole, and to compare with. Not to be run:
-- the migrations beside it are the source. `gatehouse migrate schema --write` writes this file, and a test compares it.
-- Roles belong to the server and monthly partitions to the calendar, so neither is here.

GRANT USAGE ON SCHEMA public TO PUBLIC;

CREATE OR REPLACE FUNCTION public.apply_payment_facts(p_merchant text, p_gateway text, p_account text, p_facts jsonb, p_said_by text, p_event_row bigint, p_job_id bigint, p_occurred_at timestamp with time zone, p_received_at timestamp with time zone, p_joining boolean)
 RETURNS jsonb
 LANGUAGE plpgsql
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION public.audit_hash(hash_key bytea, value jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
AS $function$
    select case when value <> 'null' then to_jsonb('hash:' || left(encode(
        sha256(hash_key || sha256(hash_key || convert_to(value::text, 'UTF8'))), 'hex'), 24)) end
$function$;

CREATE OR REPLACE FUNCTION public.fold_payment(p_id bigint)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION public.fold_payments(p_ids bigint[])
 RETURNS TABLE(payment_id bigint, payment_status text)
 LANGUAGE plpgsql
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION public.make_payload_partitions(months_ahead integer)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
 SET lock_timeout TO '1s'
AS $function$
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
$function$;
REVOKE ALL ON FUNCTION make_payload_partitions(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_payload_partitions(integer) TO gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.payments_named(p_gateway text, p_account text, p_objects jsonb)
 RETURNS bigint[]
 LANGUAGE plpgsql
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION public.record_event(p_merchant text, p_gateway text, p_account text, p_event_id text, p_type text, p_livemode boolean, p_occurred_at timestamp with time zone, p_received_at timestamp with time zone, p_status text, p_reason text, p_reference text, p_signed_by text, p_key_id text, p_sealed bytea, p_facts jsonb, p_needs jsonb, p_account_lock bigint, p_name_locks bigint[], p_joining boolean)
 RETURNS jsonb
 LANGUAGE plpgsql
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION public.refuse(code text, reason text)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
begin
    raise exception using errcode = code, message = reason;
end
$function$;

CREATE OR REPLACE FUNCTION public.refuse_audit_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    raise exception using errcode = '42501', message = 'payment_audit_log is append-only';
end
$function$;

CREATE OR REPLACE FUNCTION public.reopen_event(p_merchant text, p_gateway text, p_account text, p_event_id text, p_occurred_at timestamp with time zone, p_received_at timestamp with time zone, p_status text, p_reason text, p_reference text, p_facts jsonb, p_needs jsonb, p_account_lock bigint, p_name_locks bigint[], p_joining boolean)
 RETURNS jsonb
 LANGUAGE plpgsql
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION public.take_recording_locks(p_merchant text, p_account_lock bigint, p_name_locks bigint[], p_joining boolean)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    perform set_config('gatehouse.merchant', p_merchant, true);
    if p_joining then
        perform pg_advisory_xact_lock(p_account_lock);
    else
        perform pg_advisory_xact_lock_shared(p_account_lock);
    end if;
    perform pg_advisory_xact_lock(name_lock) from unnest(p_name_locks) as name_lock;
end
$function$;

CREATE OR REPLACE FUNCTION public.write_audit()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    before jsonb := case when tg_op = 'INSERT' then '{}' else to_jsonb(old) end;
    after jsonb := case when tg_op = 'DELETE' then '{}' else to_jsonb(new) end;
    this jsonb := case when tg_op = 'DELETE' then before else after end;
begin
    insert into payment_audit_log (merchant, table_name, row_id, action, actor, webhook_event_id, changes)
    select
        this ->> 'merchant', tg_table_name, (this ->> 'id')::bigint, lower(tg_op),
        coalesce(nullif(current_setting('gatehouse.actor', true), ''), session_user),
        nullif(current_setting('gatehouse.event_row', true), '')::bigint,
        coalesce(jsonb_object_agg(name, case
            when name = any (tg_argv) then jsonb_build_array(
                audit_hash((select key from audit_hash_key), before -> name),
                audit_hash((select key from audit_hash_key), after -> name))
            else jsonb_build_array(before -> name, after -> name)
        end), '{}')
    from jsonb_object_keys(this) as name
    where before -> name is distinct from after -> name
      and (before -> name <> 'null' or after -> name <> 'null');
    return null;
end
$function$;
REVOKE ALL ON FUNCTION write_audit() FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.write_needs(p_merchant text, p_event_row bigint, p_needs jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
AS $function$
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
$function$;

CREATE SEQUENCE payment_ids AS bigint INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1;
GRANT USAGE ON SEQUENCE payment_ids TO gatehouse_intake, gatehouse_ops, gatehouse_worker;

CREATE TABLE audit_hash_key (
    only_one boolean NOT NULL DEFAULT true,
    key bytea NOT NULL,
    CONSTRAINT audit_hash_key_pkey PRIMARY KEY (only_one),
    CONSTRAINT audit_hash_key_only_one_check CHECK (only_one)
);

CREATE TABLE facts (
    kind text NOT NULL,
    subject_id bigint NOT NULL,
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    merchant text NOT NULL,
    gateway text NOT NULL,
    account text NOT NULL,
    said_by text NOT NULL,
    webhook_event_id bigint,
    job_id bigint,
    occurred_at timestamp with time zone,
    received_at timestamp with time zone NOT NULL,
    rank smallint NOT NULL,
    words jsonb NOT NULL,
    CONSTRAINT facts_pkey PRIMARY KEY (kind, subject_id, id),
    CONSTRAINT facts_check CHECK ((num_nonnulls(webhook_event_id, job_id) = 1)),
    CONSTRAINT facts_kind_check CHECK ((kind = 'payment'::text))
);
CREATE INDEX facts_webhook_event ON public.facts USING btree (webhook_event_id) WHERE (webhook_event_id IS NOT NULL);
ALTER TABLE facts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON facts FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON facts FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT INSERT, SELECT, UPDATE (subject_id) ON TABLE facts TO gatehouse_intake, gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE facts TO gatehouse_api;

CREATE TABLE gateway_accounts (
    gateway text NOT NULL,
    account text NOT NULL,
    merchant text NOT NULL,
    mode text NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    credentials bytea NOT NULL,
    key_id text NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT gateway_accounts_pkey PRIMARY KEY (gateway, account),
    CONSTRAINT gateway_accounts_mode_check CHECK ((mode = ANY (ARRAY['test'::text, 'live'::text, 'both'::text]))),
    CONSTRAINT gateway_accounts_merchant_fkey FOREIGN KEY (merchant) REFERENCES merchants(id)
);
CREATE INDEX gateway_accounts_merchant ON public.gateway_accounts USING btree (merchant);
CREATE INDEX gateway_accounts_updated ON public.gateway_accounts USING btree (updated_at);
ALTER TABLE gateway_accounts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON gateway_accounts FOR ALL TO CURRENT_USER, gatehouse_intake, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON gateway_accounts FOR ALL TO gatehouse_api USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT INSERT, SELECT, UPDATE ON TABLE gateway_accounts TO gatehouse_ops;
GRANT SELECT ON TABLE gateway_accounts TO gatehouse_intake, gatehouse_worker;
GRANT SELECT (gateway, account, merchant, mode, is_active, created_at, updated_at) ON TABLE gateway_accounts TO gatehouse_api;

CREATE TABLE jobs (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    topic text NOT NULL,
    business_key text NOT NULL,
    merchant text NOT NULL,
    arguments jsonb NOT NULL DEFAULT '{}'::jsonb,
    status text NOT NULL DEFAULT 'waiting'::text,
    due_at timestamp with time zone NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    lease_until timestamp with time zone,
    lease_token uuid,
    ring_after timestamp with time zone NOT NULL DEFAULT (now() + '00:00:30'::interval),
    last_error text,
    burials integer NOT NULL DEFAULT 0,
    burial_told boolean NOT NULL DEFAULT true,
    webhook_event_id bigint,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    finished_at timestamp with time zone,
    CONSTRAINT jobs_pkey PRIMARY KEY (id),
    CONSTRAINT jobs_topic_business_key_key UNIQUE (topic, business_key),
    CONSTRAINT jobs_check CHECK (((status = 'leased'::text) = ((lease_token IS NOT NULL) AND (lease_until IS NOT NULL)))),
    CONSTRAINT jobs_status_check CHECK ((status = ANY (ARRAY['waiting'::text, 'leased'::text, 'done'::text, 'dead'::text])))
);
CREATE INDEX jobs_burials_to_tell ON public.jobs USING btree (id) WHERE (NOT burial_told);
CREATE INDEX jobs_dead ON public.jobs USING btree (topic, finished_at) WHERE (status = 'dead'::text);
CREATE INDEX jobs_event ON public.jobs USING btree (webhook_event_id) WHERE (webhook_event_id IS NOT NULL);
CREATE INDEX jobs_to_ring ON public.jobs USING btree (ring_after) WHERE (status = ANY (ARRAY['waiting'::text, 'leased'::text]));
ALTER TABLE jobs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON jobs FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON jobs FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT INSERT, SELECT ON TABLE jobs TO gatehouse_intake;
GRANT INSERT, SELECT, UPDATE ON TABLE jobs TO gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE jobs TO gatehouse_api;

CREATE TABLE merchants (
    id text NOT NULL,
    name text NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT merchants_pkey PRIMARY KEY (id),
    CONSTRAINT merchants_id_check CHECK ((id ~ '^[a-z0-9][a-z0-9_-]{0,62}$'::text))
);
ALTER TABLE merchants ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON merchants FOR ALL TO CURRENT_USER, gatehouse_intake, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON merchants FOR ALL TO gatehouse_api USING ((id = current_setting('gatehouse.merchant'::text, true)));
GRANT INSERT, SELECT, UPDATE ON TABLE merchants TO gatehouse_ops;
GRANT SELECT ON TABLE merchants TO gatehouse_api, gatehouse_intake, gatehouse_worker;

CREATE TABLE payment_audit_log (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    at timestamp with time zone NOT NULL DEFAULT now(),
    merchant text NOT NULL,
    table_name text NOT NULL,
    row_id bigint NOT NULL,
    action text NOT NULL,
    actor text NOT NULL,
    webhook_event_id bigint,
    changes jsonb NOT NULL,
    CONSTRAINT payment_audit_log_pkey PRIMARY KEY (table_name, row_id, id),
    CONSTRAINT payment_audit_log_action_check CHECK ((action = ANY (ARRAY['insert'::text, 'update'::text, 'delete'::text])))
);
CREATE INDEX payment_audit_log_event ON public.payment_audit_log USING btree (webhook_event_id) WHERE (webhook_event_id IS NOT NULL);
ALTER TABLE payment_audit_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON payment_audit_log FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON payment_audit_log FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.payment_audit_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
COMMENT ON COLUMN payment_audit_log.changes IS 'column -> [before, after]; personal values appear only as keyed hashes';
GRANT SELECT ON TABLE payment_audit_log TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE TABLE payment_objects (
    gateway text NOT NULL,
    account text NOT NULL,
    kind text NOT NULL,
    object_id text NOT NULL,
    merchant text NOT NULL,
    payment_id bigint NOT NULL,
    CONSTRAINT payment_objects_pkey PRIMARY KEY (gateway, account, kind, object_id),
    CONSTRAINT payment_objects_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments(id) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX payment_objects_payment ON public.payment_objects USING btree (payment_id);
ALTER TABLE payment_objects ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON payment_objects FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON payment_objects FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT INSERT, SELECT, UPDATE (payment_id) ON TABLE payment_objects TO gatehouse_intake, gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE payment_objects TO gatehouse_api;

CREATE TABLE payments (
    id bigint NOT NULL,
    merchant text NOT NULL,
    gateway text NOT NULL,
    account text NOT NULL,
    livemode boolean NOT NULL,
    status text NOT NULL,
    amount_minor bigint,
    received_minor bigint,
    refunded_minor bigint,
    currency text,
    fee_minor bigint,
    fee_currency text,
    method text,
    reference text,
    customer_ref text,
    failure_code text,
    failure_message text,
    status_reason text,
    metadata jsonb,
    first_fact_at timestamp with time zone NOT NULL,
    last_fact_at timestamp with time zone NOT NULL,
    completed_at timestamp with time zone,
    merged_into bigint,
    CONSTRAINT payments_pkey PRIMARY KEY (id),
    CONSTRAINT payments_amount_minor_check CHECK ((amount_minor >= 0)),
    CONSTRAINT payments_check CHECK (((fee_minor IS NULL) OR (fee_currency IS NOT NULL))),
    CONSTRAINT payments_check1 CHECK (((status <> ALL (ARRAY['completed'::text, 'refunded'::text, 'partially_refunded'::text])) OR ((amount_minor IS NOT NULL) AND (received_minor IS NOT NULL) AND (currency IS NOT NULL)))),
    CONSTRAINT payments_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT payments_fee_currency_check CHECK ((fee_currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT payments_received_minor_check CHECK ((received_minor >= 0)),
    CONSTRAINT payments_refunded_minor_check CHECK ((refunded_minor >= 0)),
    CONSTRAINT payments_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'processing'::text, 'completed'::text, 'failed'::text, 'refunded'::text, 'partially_refunded'::text, 'cancelled'::text]))),
    CONSTRAINT payments_merged_into_fkey FOREIGN KEY (merged_into) REFERENCES payments(id)
);
CREATE INDEX payments_customer ON public.payments USING btree (merchant, customer_ref) WHERE (customer_ref IS NOT NULL);
CREATE INDEX payments_merged ON public.payments USING btree (merged_into) WHERE (merged_into IS NOT NULL);
CREATE INDEX payments_newest ON public.payments USING btree (merchant, first_fact_at DESC, id DESC) WHERE (merged_into IS NULL);
CREATE INDEX payments_reference ON public.payments USING btree (merchant, reference) WHERE (reference IS NOT NULL);
ALTER TABLE payments ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON payments FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON payments FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER payments_audit_delete AFTER DELETE ON public.payments FOR EACH ROW EXECUTE FUNCTION write_audit('metadata', 'failure_message', 'customer_ref');
CREATE TRIGGER payments_audit_insert AFTER INSERT ON public.payments FOR EACH ROW EXECUTE FUNCTION write_audit('metadata', 'failure_message', 'customer_ref');
CREATE TRIGGER payments_audit_update AFTER UPDATE ON public.payments FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION write_audit('metadata', 'failure_message', 'customer_ref');
COMMENT ON COLUMN payments.fee_minor IS 'null means: not known yet; never counted as zero';
GRANT INSERT, SELECT, UPDATE ON TABLE payments TO gatehouse_intake, gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE payments TO gatehouse_api;

CREATE TABLE rejected_requests (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    received_at timestamp with time zone NOT NULL,
    gateway text NOT NULL,
    account text NOT NULL,
    code text NOT NULL,
    reason text NOT NULL,
    headers jsonb NOT NULL,
    body_bytes integer NOT NULL,
    source_ip text NOT NULL,
    request_id text NOT NULL,
    CONSTRAINT rejected_requests_pkey PRIMARY KEY (id)
);
CREATE INDEX rejected_requests_received ON public.rejected_requests USING btree (received_at);
GRANT DELETE, SELECT ON TABLE rejected_requests TO gatehouse_ops, gatehouse_worker;
GRANT INSERT ON TABLE rejected_requests TO gatehouse_intake;

CREATE TABLE webhook_events (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    gateway text NOT NULL,
    account text NOT NULL,
    event_id text NOT NULL,
    merchant text NOT NULL,
    type text NOT NULL,
    livemode boolean NOT NULL,
    occurred_at timestamp with time zone,
    received_at timestamp with time zone NOT NULL,
    status text NOT NULL,
    reason text,
    attempts integer NOT NULL DEFAULT 1,
    reference text,
    signed_by text,
    CONSTRAINT webhook_events_pkey PRIMARY KEY (id),
    CONSTRAINT webhook_events_event_id_gateway_account_key UNIQUE (event_id, gateway, account),
    CONSTRAINT webhook_events_check CHECK (((status = ANY (ARRAY['applied'::text, 'received'::text])) OR (reason IS NOT NULL))),
    CONSTRAINT webhook_events_status_check CHECK ((status = ANY (ARRAY['received'::text, 'applied'::text, 'ignored'::text, 'failed'::text])))
);
CREATE INDEX webhook_events_failed ON public.webhook_events USING btree (received_at) WHERE (status = 'failed'::text);
CREATE INDEX webhook_events_received ON public.webhook_events USING brin (received_at);
CREATE INDEX webhook_events_reference ON public.webhook_events USING btree (reference) WHERE (reference IS NOT NULL);
ALTER TABLE webhook_events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON webhook_events FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON webhook_events FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT INSERT, SELECT ON TABLE webhook_events TO gatehouse_intake, gatehouse_worker;
GRANT INSERT, SELECT, UPDATE ON TABLE webhook_events TO gatehouse_ops;
GRANT SELECT ON TABLE webhook_events TO gatehouse_api;

CREATE TABLE webhook_payloads (
    webhook_event_id bigint NOT NULL,
    merchant text NOT NULL,
    received_at timestamp with time zone NOT NULL,
    key_id text NOT NULL,
    sealed bytea NOT NULL,
    CONSTRAINT webhook_payloads_pkey PRIMARY KEY (webhook_event_id, received_at)
) PARTITION BY RANGE (received_at);
ALTER TABLE webhook_payloads ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON webhook_payloads FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON webhook_payloads FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT INSERT ON TABLE webhook_payloads TO gatehouse_intake;
GRANT INSERT, SELECT ON TABLE webhook_payloads TO gatehouse_ops, gatehouse_worker;

CREATE TABLE webhook_payloads_default PARTITION OF webhook_payloads DEFAULT;
