-- Whoever was to be retained until a day that has passed is erased by the sweeper. Its role may erase these persons, and
-- nobody else.
-- migrate: up

-- Erases one customer whose day of retention has passed (by UTC), unless another run is at it; null where there is none.
create function erase_one_past_retention(out merchant text, out customer_id bigint)
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    due customers;
begin
    select * into due from customers c
    where c.retain_until < (now() at time zone 'UTC')::date and c.erased_at is null
    order by c.retain_until, c.id
    limit 1
    for no key update skip locked;
    if due.id is null then
        return;
    end if;
    perform set_config('gatehouse.merchant', due.merchant, true), set_config('gatehouse.actor', 'retention', true);
    perform erase_customer(due.email);
    merchant := due.merchant;
    customer_id := due.id;
end
$$;

revoke execute on function erase_one_past_retention() from public;
grant execute on function erase_one_past_retention() to gatehouse_worker, gatehouse_ops;

-- migrate: down

drop function erase_one_past_retention();
