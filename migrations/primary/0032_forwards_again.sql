-- Which deliveries can be made again, with their money and with what stands in the way of each.
-- migrate: up

-- Filters: {app, gateway, error, since, until, replay}; `replay` chooses what was delivered in the place of what was
-- given up. What the redrive has taken already is left out, so that it can be gone on with.
create function forwards_to_repeat(p_merchant text, p_filters jsonb, p_redrive bigint)
returns table (job bigint, app text, gateway text, amount_minor bigint, currency text, hindrance text)
language sql stable as $$
    select
        j.id, j.arguments ->> 'app', e.gateway, t.amount_minor, t.currency,
        case
            when a.name is null or coalesce(a.target_url, a.environment_url) is null then 'the app has no address'
            when not exists (
                select from webhook_payloads p
                where p.webhook_event_id = e.id and p.received_at = e.received_at
            ) then 'the bytes of the event are gone'
            when a.is_paused then 'the app is paused'
        end
    from jobs j
    join webhook_events e on e.id = j.webhook_event_id
    left join apps a on a.merchant = j.merchant and a.name = j.arguments ->> 'app'
    left join app_transactions t on t.webhook_event_id = e.id
    where j.topic = 'forward' and j.merchant = p_merchant
      and j.status = case when (p_filters ->> 'replay')::boolean then 'done' else 'dead' end
      and (p_redrive is null or j.redrive_id is distinct from p_redrive)
      and (not p_filters ? 'app' or j.arguments ->> 'app' = p_filters ->> 'app')
      and (not p_filters ? 'gateway' or e.gateway = p_filters ->> 'gateway')
      and (not p_filters ? 'error' or position(lower(p_filters ->> 'error') in lower(j.last_error)) > 0)
      and (not p_filters ? 'since' or e.received_at >= (p_filters ->> 'since')::timestamptz)
      and (not p_filters ? 'until' or e.received_at < (p_filters ->> 'until')::timestamptz)
$$;

-- migrate: down

drop function forwards_to_repeat(text, jsonb, bigint);
