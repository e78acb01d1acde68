-- A payment is found by a gateway's id alone, without reading the whole index of names: that begins with gateway, account
-- and kind, of which there are few. Postgres 18 skips through such an index by itself; older ones do not.
-- migrate: up

-- Returns the payments of a merchant of which some object has this id, at one gateway or at any; looks as the owner, as
-- row-level security would read all rows of an account to find its next kind. First among the accounts that the merchant
-- has now, then among all, as an account may have changed hands.
create function payments_called(p_object_id text, p_gateway text) returns setof bigint
language plpgsql stable rows 1 security definer set search_path = public, pg_temp as $$
declare
    merchant_now text := working_for();
begin
    return query
        with recursive gateways as (
            (select po.gateway from payment_objects po order by po.gateway limit 1)
            union all
            select following.gateway
            from gateways g
            cross join lateral (
                select po.gateway from payment_objects po where po.gateway > g.gateway order by po.gateway limit 1
            ) as following
        ),
        accounts as (
            select a.gateway, a.account from gateway_accounts a where a.merchant = merchant_now
            union
            select g.gateway, 'default' from gateways g  -- in the settings, and in no table
        ),
        kinds as (
            select a.gateway, a.account, first.kind
            from accounts a
            cross join lateral (
                select po.kind from payment_objects po
                where po.gateway = a.gateway and po.account = a.account order by po.kind limit 1
            ) as first
            union all
            select k.gateway, k.account, following.kind
            from kinds k
            cross join lateral (
                select po.kind from payment_objects po
                where po.gateway = k.gateway and po.account = k.account and po.kind > k.kind order by po.kind limit 1
            ) as following
        )
        select po.payment_id
        from kinds k
        join payment_objects po on (po.gateway, po.account, po.kind) = (k.gateway, k.account, k.kind)
            and po.object_id = p_object_id
        where po.merchant = merchant_now and (p_gateway is null or po.gateway = p_gateway);
    if found then
        return;
    end if;
    return query
        with recursive kinds as (
            (
                select po.gateway, po.account, po.kind from payment_objects po
                order by po.gateway, po.account, po.kind limit 1
            )
            union all
            select following.gateway, following.account, following.kind
            from kinds k
            cross join lateral (
                select po.gateway, po.account, po.kind from payment_objects po
                where (po.gateway, po.account, po.kind) > (k.gateway, k.account, k.kind)
                order by po.gateway, po.account, po.kind limit 1
            ) as following
        )
        select po.payment_id
        from kinds k
        join payment_objects po on (po.gateway, po.account, po.kind) = (k.gateway, k.account, k.kind)
            and po.object_id = p_object_id
        where po.merchant = merchant_now and (p_gateway is null or po.gateway = p_gateway);
end
$$;

revoke execute on function payments_called(text, text) from public;
grant execute on function payments_called(text, text) to gatehouse_api, gatehouse_worker, gatehouse_ops;

-- migrate: down

drop function payments_called(text, text);
