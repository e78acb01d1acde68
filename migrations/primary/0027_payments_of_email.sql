-- The payments of an e-mail address, found by their index also where row-level security is in the way.
-- migrate: up

-- `lower` may not look at a row before the policy has (it is not leakproof), so for a role that sees one merchant only,
-- Postgres would read all payments of the merchant instead of the index. This asks for both at once, and as the owner.
create function payments_of_email(p_email text) returns setof bigint
language sql stable security definer set search_path = public, pg_temp as $$
    select id from payments
    where merchant = current_setting('gatehouse.merchant', true) and email is not null and lower(email) = lower(p_email)
$$;

revoke execute on function payments_of_email(text) from public;
grant execute on function payments_of_email(text) to gatehouse_api, gatehouse_ops;

-- migrate: down

drop function payments_of_email(text);
