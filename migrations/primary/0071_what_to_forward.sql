-- What a forward needs, asked for by a function: behind a transaction pooler nothing stays prepared, and planning this
-- join of five tables, one of them in months, took longer than carrying it out.
-- migrate: up

create or replace function what_to_forward(p_job bigint, p_app text)
returns table (
    event_row bigint, gateway text, account text, event_id text, type text, reference text, received_at timestamptz,
    merchant text, payload_key_id text, payload bytea, content_type text, "now" timestamptz, app text, url text,
    is_paused boolean, paused_because text, router_source text, attempts smallint, attempt_milliseconds integer,
    waits_milliseconds integer[], rate_per_second double precision, burst integer, sealed bytea, key_id text,
    circuit_state text, circuit_failures integer, circuit_opened_at timestamptz, circuit_probe_at timestamptz,
    bucket_tokens double precision, bucket_filled_at timestamptz
)
language plpgsql stable as $$
begin
    return query
    select e.id, e.gateway, e.account, e.event_id, e.type, e.reference, e.received_at, e.merchant,
        p.key_id, p.sealed, p.content_type, pg_catalog.now(),
        a.name, coalesce(a.target_url, a.environment_url), a.is_paused, a.paused_because, a.router_source,
        a.attempts, a.attempt_milliseconds, a.waits_milliseconds, a.rate_per_second, a.burst, a.sealed, a.key_id,
        a.circuit_state, a.circuit_failures, a.circuit_opened_at, a.circuit_probe_at, a.bucket_tokens, a.bucket_filled_at
    from jobs j
    join webhook_events e on e.id = j.webhook_event_id
    left join webhook_payloads p on p.webhook_event_id = e.id and p.received_at = e.received_at
    left join apps a on a.merchant = e.merchant and a.name = p_app
    where j.id = p_job;
end
$$;

-- migrate: down

drop function what_to_forward(bigint, text);
