-- The view of an app that is added later says who made it, so that a comparison of schemas can tell it from a stranger;
-- and two apps whose names differ only in a dash never share one.
-- migrate: up

create or replace function make_app_view(p_app text) returns text
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    view_name text := replace(p_app, '-', '_') || '_subscriptions';
begin
    if not exists (select from apps where name = p_app) then
        raise exception using errcode = 'P0002', message = 'no merchant has an app named ' || p_app;
    end if;
    if to_regclass(view_name) is null then
        execute format(
            'create view %I with (security_invoker = true) as'
            ' select webhook_event_id as id, created_at, reference, user_id, plan, amount_minor, currency, status,'
            ' event_type, gateway, account, livemode, occurred_at, merchant, payment_id, subscription_id'
            ' from app_transactions where app = %L', view_name, p_app);
        execute format('comment on view %I is %L', view_name, 'made by make_app_view');
        execute format('grant select on %I to gatehouse_worker, gatehouse_api, gatehouse_ops', view_name);
    elsif position(format('(app = %L::text)', p_app) in coalesce(pg_get_viewdef(to_regclass(view_name)), '')) = 0 then
        raise exception using errcode = '42P07',
            message = format('the view of %s would be named %s, as something else is', p_app, view_name);
    end if;
    return view_name;
end
$$;

-- migrate: down

create or replace function make_app_view(p_app text) returns text
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    view_name text := replace(p_app, '-', '_') || '_subscriptions';
begin
    if not exists (select from apps where name = p_app) then
        raise exception using errcode = 'P0002', message = 'no merchant has an app named ' || p_app;
    end if;
    if to_regclass(view_name) is null then
        execute format(
            'create view %I with (security_invoker = true) as'
            ' select webhook_event_id as id, created_at, reference, user_id, plan, amount_minor, currency, status,'
            ' event_type, gateway, account, livemode, occurred_at, merchant, payment_id, subscription_id'
            ' from app_transactions where app = %L', view_name, p_app);
        execute format('grant select on %I to gatehouse_worker, gatehouse_api, gatehouse_ops', view_name);
    end if;
    return view_name;
end
$$;
