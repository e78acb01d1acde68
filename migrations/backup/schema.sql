-- The schema that the migrations make, read from the catalogue: to see it whole, and to compare with. Not to be run:
-- the migrations beside it are the source. `gatehouse migrate schema --write` writes this file, and a test compares it.
-- Roles belong to the server and monthly partitions to the calendar, so neither is here.

GRANT USAGE ON SCHEMA public TO PUBLIC;

CREATE OR REPLACE FUNCTION public.backup_hashes(p_from bigint, p_until bigint)
 RETURNS TABLE(gateway text, hour timestamp with time zone, payments bigint, hash numeric)
 LANGUAGE sql
 STABLE
 SET "TimeZone" TO 'UTC'
 SET "DateStyle" TO 'ISO, MDY'
AS $function$
    select s.gateway_provider, date_trunc('hour', s.first_fact_at), count(*),
        sum(('x' || left(md5(s::text), 16))::bit(64)::bigint::numeric)
    from backup_states s
    where s.id >= p_from and s.id < p_until
    group by 1, 2
$function$;

CREATE OR REPLACE FUNCTION public.backup_hashes_of(p_ids bigint[])
 RETURNS TABLE(payment_id bigint, hash text)
 LANGUAGE sql
 STABLE
 SET "TimeZone" TO 'UTC'
 SET "DateStyle" TO 'ISO, MDY'
AS $function$
    select s.id, md5(s::text) from backup_states s where s.id = any (p_ids)
$function$;

CREATE OR REPLACE FUNCTION public.backup_hashes_within(p_from bigint, p_until bigint, p_gateway text, p_hour timestamp with time zone)
 RETURNS TABLE(payment_id bigint, hash text)
 LANGUAGE sql
 STABLE
 SET "TimeZone" TO 'UTC'
 SET "DateStyle" TO 'ISO, MDY'
AS $function$
    select s.id, md5(s::text)
    from backup_states s
    where s.id >= p_from and s.id < p_until and s.gateway_provider = p_gateway
      and s.first_fact_at >= p_hour and s.first_fact_at < p_hour + interval '1 hour'
$function$;

CREATE OR REPLACE FUNCTION public.payment_of_dispute(p_dispute bigint)
 RETURNS bigint
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    select id from payment_services
    where disputes @> jsonb_build_array(jsonb_build_object('id', p_dispute))
      and merchant = current_setting('gatehouse.merchant', true)
    limit 1
$function$;
REVOKE ALL ON FUNCTION payment_of_dispute(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION payment_of_dispute(bigint) TO gatehouse_backup_reader, gatehouse_backup_writer;

CREATE OR REPLACE FUNCTION public.payment_of_refund(p_refund bigint)
 RETURNS bigint
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    select id from payment_services
    where refunds @> jsonb_build_array(jsonb_build_object('id', p_refund))
      and merchant = current_setting('gatehouse.merchant', true)
    limit 1
$function$;
REVOKE ALL ON FUNCTION payment_of_refund(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION payment_of_refund(bigint) TO gatehouse_backup_reader, gatehouse_backup_writer;

CREATE OR REPLACE FUNCTION public.payments_of_email(p_email text)
 RETURNS SETOF bigint
 LANGUAGE sql
 STABLE
AS $function$
    select id from payment_services
    where merchant = current_setting('gatehouse.merchant', true) and lower(email) = lower(p_email)
$function$;

CREATE OR REPLACE FUNCTION public.payments_with_words(p_text text)
 RETURNS SETOF bigint
 LANGUAGE sql
 STABLE
AS $function$
    select id from payment_services
    where merchant = current_setting('gatehouse.merchant', true)
      and (reference = p_text or customer_ref = p_text or lower(email) = lower(p_text))
$function$;

CREATE OR REPLACE FUNCTION public.sync_payment_to_backup(reference text, client_reference text, gateway text, service text, amount numeric, status text, payload jsonb)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
    said jsonb := coalesce(payload, '{}');
    exponent smallint := coalesce((said ->> 'currency_exponent')::smallint, 2);
    in_minor bigint := round(amount * 10::numeric ^ exponent);
    whose text := coalesce(said ->> 'merchant', 'default');
    known payment_services;
    row_id bigint;
begin
    if sync_payment_to_backup.reference is null or sync_payment_to_backup.gateway is null
        or sync_payment_to_backup.status is null
    then
        raise exception using errcode = '22004', message = 'reference, gateway and status must be given';
    end if;
    if amount * 10::numeric ^ exponent <> in_minor then
        raise exception using errcode = '22023', message = 'amount has more digits than its currency';
    end if;
    perform pg_advisory_xact_lock(hashtextextended(concat_ws('/', whose, gateway, sync_payment_to_backup.reference), 0));
    select * into known from payment_services p
    where p.merchant = whose and p.gateway_provider = sync_payment_to_backup.gateway
      and p.reference = sync_payment_to_backup.reference and p.merged_into is null
    order by p.version desc, p.id limit 1 for update;
    row_id := coalesce((said ->> 'id')::bigint, known.id, nextval('payment_services_elsewhere'));
    if not said ? 'version' then
        if known.version > 0 then
            return known.id;
        end if;
        if known.id is not null then
            update payment_services p set
                status = case
                    when p.status in ('completed', 'refunded', 'partially_refunded') and sync_payment_to_backup.status
                        not in ('refunded', 'partially_refunded') then p.status
                    when sync_payment_to_backup.status = 'success' then 'completed'
                    else sync_payment_to_backup.status end,
                amount_minor = coalesce(in_minor, p.amount_minor),
                client_reference = coalesce(sync_payment_to_backup.client_reference, p.client_reference),
                completed_at = coalesce(p.completed_at, case
                    when sync_payment_to_backup.status in ('success', 'completed') then now() end),
                last_fact_at = now(), written_at = now()
            where p.id = known.id;
            return known.id;
        end if;
    end if;
    perform sync_payments_to_backup(jsonb_build_array(
        jsonb_build_object(
            'version', 0, 'merchant', whose, 'account', 'default', 'livemode', true, 'first_fact_at', now(),
            'last_fact_at', now(), 'completed_at', case
                when sync_payment_to_backup.status in ('success', 'completed') then now() end)
        || (said - 'sealed_base64')
        || jsonb_build_object(
            'id', row_id, 'reference', sync_payment_to_backup.reference,
            'client_reference', sync_payment_to_backup.client_reference, 'gateway_provider', gateway,
            'service', coalesce(service, 'payment'), 'amount_minor', in_minor, 'currency_exponent', exponent,
            'status', case sync_payment_to_backup.status when 'success' then 'completed' else
                sync_payment_to_backup.status end)));
    return row_id;
end
$function$;

CREATE OR REPLACE FUNCTION public.sync_payments_to_backup(p_payments jsonb)
 RETURNS SETOF bigint
 LANGUAGE sql
AS $function$
    insert into payment_services (
        id, version, merchant, gateway_provider, account, livemode, service, reference, client_reference, status,
        amount_minor, received_minor, refunded_minor, currency, currency_exponent, fee_minor, fee_currency, method,
        customer_ref, email, app, app_from, user_id, plan, subscription_ref, invoice_ref, failure_code, failure_message,
        status_reason, metadata, merged_into, order_id, order_state, refunds, disputes, first_fact_at, last_fact_at,
        completed_at, names, names_of_others, events, changes, key_id, sealed_facts
    )
    select
        t.id, t.version, t.merchant, t.gateway_provider, t.account, t.livemode, t.service, t.reference,
        t.client_reference, t.status, t.amount_minor, t.received_minor, t.refunded_minor, t.currency,
        coalesce(t.currency_exponent, 2), t.fee_minor, t.fee_currency, t.method, t.customer_ref, t.email, t.app,
        t.app_from, t.user_id, t.plan, t.subscription_ref, t.invoice_ref, t.failure_code, t.failure_message, t.status_reason,
        t.metadata, t.merged_into, t.order_id, t.order_state, t.refunds, t.disputes, t.first_fact_at, t.last_fact_at,
        t.completed_at, t.names, t.names_of_others, t.events, t.changes, t.key_id, decode(t.sealed_base64, 'base64')
    from jsonb_to_recordset(p_payments) as t (
        id bigint, version bigint, merchant text, gateway_provider text, account text, livemode boolean, service text,
        reference text, client_reference text, status text, amount_minor bigint, received_minor bigint,
        refunded_minor bigint, currency text, currency_exponent smallint, fee_minor bigint, fee_currency text,
        method text, customer_ref text, email text, app text, app_from text, user_id text, plan text, subscription_ref text,
        invoice_ref text, failure_code text, failure_message text, status_reason text, metadata jsonb,
        merged_into bigint, order_id bigint, order_state jsonb, refunds jsonb, disputes jsonb,
        first_fact_at timestamptz, last_fact_at timestamptz, completed_at timestamptz, names jsonb,
        names_of_others jsonb, events jsonb, changes jsonb, key_id text, sealed_base64 text
    )
    order by t.id
    on conflict (id) do update set
        version = excluded.version, merchant = excluded.merchant, gateway_provider = excluded.gateway_provider,
        account = excluded.account, livemode = excluded.livemode, service = excluded.service,
        reference = excluded.reference, client_reference = excluded.client_reference, status = excluded.status,
        amount_minor = excluded.amount_minor, received_minor = excluded.received_minor,
        refunded_minor = excluded.refunded_minor, currency = excluded.currency,
        currency_exponent = excluded.currency_exponent, fee_minor = excluded.fee_minor,
        fee_currency = excluded.fee_currency, method = excluded.method, customer_ref = excluded.customer_ref,
        email = excluded.email, app = excluded.app, app_from = excluded.app_from, user_id = excluded.user_id, plan = excluded.plan,
        subscription_ref = excluded.subscription_ref, invoice_ref = excluded.invoice_ref,
        failure_code = excluded.failure_code, failure_message = excluded.failure_message,
        status_reason = excluded.status_reason, metadata = excluded.metadata, merged_into = excluded.merged_into,
        order_id = excluded.order_id, order_state = excluded.order_state, refunds = excluded.refunds,
        disputes = excluded.disputes, first_fact_at = excluded.first_fact_at, last_fact_at = excluded.last_fact_at,
        completed_at = excluded.completed_at, names = excluded.names,
        names_of_others = excluded.names_of_others, events = excluded.events, changes = excluded.changes, key_id = excluded.key_id, sealed_facts = excluded.sealed_facts,
        written_at = now()
        where payment_services.version < excluded.version
    returning id
$function$;

CREATE OR REPLACE FUNCTION public.use_api_key(p_id text, p_hash bytea)
 RETURNS TABLE(answer text, key_id text, key_merchant text, key_role text, key_rate integer, requests_left integer, full_in_seconds numeric, wait_seconds numeric)
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    shown reader_keys;
    mask bytea := convert_to(gen_random_uuid()::text, 'UTF8');
begin
    select * into shown from reader_keys where id = p_id;
    if shown.id is null or sha256(shown.hash || mask) is distinct from sha256(p_hash || mask) then
        answer := 'unknown';
        return next;
        return;
    end if;
    key_id := shown.id;
    key_merchant := shown.merchant;
    key_role := shown.role;
    key_rate := shown.rate_per_minute;
    requests_left := shown.rate_per_minute;
    answer := case
        when shown.revoked_at is not null then 'revoked'
        when shown.expires_at <= now() then 'expired'
        when not shown.merchant_is_active then 'merchant_off'
        else 'ok'
    end;
    return next;
end
$function$;
REVOKE ALL ON FUNCTION use_api_key(text,bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION use_api_key(text,bytea) TO gatehouse_backup_reader;

CREATE SEQUENCE payment_services_elsewhere AS bigint INCREMENT BY -1 MINVALUE -9223372036854775807 MAXVALUE -1 START WITH -1 CACHE 1;
GRANT USAGE ON SEQUENCE payment_services_elsewhere TO gatehouse_backup_writer;

CREATE TABLE backup_progress (
    only_row boolean NOT NULL DEFAULT true,
    as_of timestamp with time zone,
    checked_at timestamp with time zone,
    CONSTRAINT backup_progress_pkey PRIMARY KEY (only_row),
    CONSTRAINT backup_progress_only_row_check CHECK (only_row)
);
GRANT SELECT ON TABLE backup_progress TO gatehouse_backup_reader;
GRANT SELECT, UPDATE ON TABLE backup_progress TO gatehouse_backup_writer;

CREATE TABLE gateway_configs (
    gateway_provider text NOT NULL,
    account text NOT NULL,
    merchant text NOT NULL,
    environment text NOT NULL,
    is_active boolean NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT gateway_configs_pkey PRIMARY KEY (gateway_provider, account),
    CONSTRAINT gateway_configs_environment_check CHECK ((environment = ANY (ARRAY['test'::text, 'live'::text, 'both'::text])))
);
ALTER TABLE gateway_configs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON gateway_configs FOR ALL TO CURRENT_USER, gatehouse_backup_writer USING (true);
CREATE POLICY own_merchant ON gateway_configs FOR ALL TO gatehouse_backup_reader USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE gateway_configs TO gatehouse_backup_writer;
GRANT SELECT ON TABLE gateway_configs TO gatehouse_backup_reader;

CREATE TABLE payment_services (
    id bigint NOT NULL,
    version bigint NOT NULL,
    merchant text NOT NULL,
    gateway_provider text NOT NULL,
    account text NOT NULL,
    livemode boolean NOT NULL,
    service text NOT NULL,
    reference text,
    client_reference text,
    status text NOT NULL,
    amount_minor bigint,
    received_minor bigint,
    refunded_minor bigint,
    currency text,
    currency_exponent smallint NOT NULL DEFAULT 2,
    amount numeric GENERATED ALWAYS AS (round(((amount_minor)::numeric / ((10)::numeric ^ (currency_exponent)::numeric)), (currency_exponent)::integer)) STORED,
    fee_minor bigint,
    fee_currency text,
    method text,
    customer_ref text,
    email text,
    app text,
    app_from text,
    user_id text,
    plan text,
    subscription_ref text,
    invoice_ref text,
    failure_code text,
    failure_message text,
    status_reason text,
    metadata jsonb,
    merged_into bigint,
    order_id bigint,
    order_state jsonb,
    refunds jsonb,
    disputes jsonb,
    first_fact_at timestamp with time zone NOT NULL,
    last_fact_at timestamp with time zone NOT NULL,
    completed_at timestamp with time zone,
    names jsonb,
    names_of_others jsonb,
    events jsonb,
    changes jsonb,
    key_id text,
    sealed_facts bytea,
    written_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT payment_services_pkey PRIMARY KEY (id)
);
CREATE INDEX payment_services_customer ON public.payment_services USING btree (merchant, customer_ref) WHERE (customer_ref IS NOT NULL);
CREATE INDEX payment_services_disputes ON public.payment_services USING gin (disputes jsonb_path_ops) WHERE (disputes IS NOT NULL);
CREATE INDEX payment_services_email ON public.payment_services USING btree (merchant, lower(email)) WHERE (email IS NOT NULL);
CREATE INDEX payment_services_newest ON public.payment_services USING btree (merchant, first_fact_at DESC, id DESC) WHERE (merged_into IS NULL);
CREATE INDEX payment_services_order ON public.payment_services USING btree (order_id) WHERE (order_id IS NOT NULL);
CREATE INDEX payment_services_period ON public.payment_services USING btree (first_fact_at) INCLUDE (gateway_provider, livemode, status, currency, amount, completed_at, merchant) WHERE (merged_into IS NULL);
CREATE INDEX payment_services_reference ON public.payment_services USING btree (merchant, reference) WHERE (reference IS NOT NULL);
CREATE INDEX payment_services_refunds ON public.payment_services USING gin (refunds jsonb_path_ops) WHERE (refunds IS NOT NULL);
ALTER TABLE payment_services ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON payment_services FOR ALL TO CURRENT_USER, gatehouse_backup_writer USING (true);
CREATE POLICY own_merchant ON payment_services FOR ALL TO gatehouse_backup_reader USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
COMMENT ON COLUMN payment_services.amount IS 'in whole units of its currency; everything else counts minor units';
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE payment_services TO gatehouse_backup_writer;
GRANT SELECT (id, version, merchant, gateway_provider, account, livemode, service, reference, client_reference, status, amount_minor, received_minor, refunded_minor, currency, currency_exponent, amount, fee_minor, fee_currency, method, customer_ref, email, app, app_from, user_id, plan, subscription_ref, invoice_ref, failure_code, failure_message, status_reason, metadata, merged_into, order_id, order_state, refunds, disputes, first_fact_at, last_fact_at, completed_at, names, names_of_others, events, changes, written_at) ON TABLE payment_services TO gatehouse_backup_reader;

CREATE TABLE reader_keys (
    id text NOT NULL,
    merchant text,
    role text NOT NULL,
    hash bytea NOT NULL,
    rate_per_minute integer NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    merchant_is_active boolean NOT NULL,
    CONSTRAINT reader_keys_pkey PRIMARY KEY (id)
);
ALTER TABLE reader_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON reader_keys FOR ALL TO CURRENT_USER, gatehouse_backup_writer USING (true);
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE reader_keys TO gatehouse_backup_writer;

CREATE TABLE service_logs (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    at timestamp with time zone NOT NULL DEFAULT now(),
    service text NOT NULL,
    action text NOT NULL,
    ok boolean NOT NULL,
    payments integer NOT NULL DEFAULT 0,
    payment_ids bigint[],
    milliseconds integer,
    message text,
    CONSTRAINT service_logs_pkey PRIMARY KEY (id)
);
CREATE INDEX service_logs_at ON public.service_logs USING btree (at);
CREATE INDEX service_logs_failed ON public.service_logs USING btree (at) WHERE (NOT ok);
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE service_logs TO gatehouse_backup_writer;

CREATE VIEW backup_states WITH (security_invoker=true) AS SELECT id, merchant, gateway_provider, account, livemode, service, reference, client_reference, status, amount_minor, received_minor, refunded_minor, currency, fee_minor, fee_currency, method, customer_ref, email, app, app_from, user_id, plan, subscription_ref, invoice_ref, failure_code, failure_message, status_reason, metadata, merged_into, order_id, order_state, refunds, disputes, first_fact_at, last_fact_at, completed_at FROM payment_services;
GRANT SELECT ON TABLE backup_states TO gatehouse_backup_writer;

CREATE VIEW disputes WITH (security_invoker=true) AS SELECT id, merchant, gateway_provider AS gateway, account, livemode, gateway_id, id AS payment_id, status, amount_minor, currency, fee_minor, reason, outcome, is_withdrawn, respond_by, opened_at, closed_at, first_fact_at, last_fact_at FROM (payment_services s CROSS JOIN LATERAL jsonb_to_recordset(disputes) d(id bigint, gateway_id text, livemode boolean, status text, amount_minor bigint, currency text, fee_minor bigint, reason text, outcome text, is_withdrawn boolean, respond_by timestamp with time zone, opened_at timestamp with time zone, closed_at timestamp with time zone, first_fact_at timestamp with time zone, last_fact_at timestamp with time zone)) WHERE (disputes IS NOT NULL);
GRANT SELECT ON TABLE disputes TO gatehouse_backup_reader, gatehouse_backup_writer;

CREATE VIEW payment_services_summary WITH (security_invoker=true) AS SELECT gateway_provider, first_fact_at AS created_at, amount, EXTRACT(epoch FROM (completed_at - first_fact_at)) AS processing_time_seconds, currency, status, merchant, livemode FROM payment_services WHERE ((merged_into IS NULL) AND (livemode OR (current_setting('stage'::text, true) = 'development'::text)));
GRANT SELECT ON TABLE payment_services_summary TO gatehouse_backup_reader, gatehouse_backup_writer;

CREATE VIEW payments WITH (security_invoker=true) AS SELECT id, merchant, gateway_provider AS gateway, account, livemode, status, amount_minor, received_minor, refunded_minor, currency, fee_minor, fee_currency, method, reference, customer_ref, failure_code, failure_message, status_reason, metadata, first_fact_at, last_fact_at, completed_at, merged_into, email, subscription_ref, invoice_ref, app, user_id, plan, order_id, NULL::bigint AS customer_id, NULL::text AS source, NULL::bigint AS surcharge_minor, NULL::text AS invoice_number, NULL::text AS product_name, NULL::text AS product_category, NULL::boolean AS is_recurring FROM payment_services;
GRANT SELECT ON TABLE payments TO gatehouse_backup_reader, gatehouse_backup_writer;

CREATE VIEW refunds WITH (security_invoker=true) AS SELECT id, merchant, gateway_provider AS gateway, account, livemode, gateway_id, id AS payment_id, status, amount_minor, currency, fee_minor, reason, failure_code, failure_message, reference, refunded_at, metadata, first_fact_at, last_fact_at FROM (payment_services s CROSS JOIN LATERAL jsonb_to_recordset(refunds) r(id bigint, gateway_id text, livemode boolean, status text, amount_minor bigint, currency text, fee_minor bigint, reason text, failure_code text, failure_message text, reference text, refunded_at timestamp with time zone, metadata jsonb, first_fact_at timestamp with time zone, last_fact_at timestamp with time zone)) WHERE (refunds IS NOT NULL);
GRANT SELECT ON TABLE refunds TO gatehouse_backup_reader, gatehouse_backup_writer;
