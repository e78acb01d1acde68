-- What was recorded before there were customers is given its customer too: some rows at a time, by `gatehouse customers
-- backfill`, so that nothing waits for it.
-- migrate: up

-- Gives the next rows of `payments` or `gateway_customers`, in the order of their ids, the customer of their address; a
-- new one where there is none, who is one since that row. An erased person's rows have no address.
create function link_customers(
    p_table text, p_after bigint, p_most integer, out last_id bigint, out looked_at integer, out linked integer
)
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    each record;
    their_id bigint;
begin
    looked_at := 0;
    linked := 0;
    last_id := p_after;
    if p_table not in ('payments', 'gateway_customers') then
        perform refuse_field('table', 'must be payments or gateway_customers');
    end if;
    for each in execute format(
        'select id, merchant, email, customer_id, first_fact_at from %I where id > $1 order by id limit $2', p_table)
        using p_after, p_most
    loop
        looked_at := looked_at + 1;
        last_id := each.id;
        continue when each.customer_id is not null or each.email !~ '@' or length(each.email) > 320;
        continue when each.email is null;
        insert into customers (merchant, email, created_at) values (each.merchant, each.email, each.first_fact_at)
        on conflict (merchant, email_key) where email_key is not null do nothing;
        their_id := customer_of(each.merchant, each.email);
        -- Asked again, as it may have been changed, or its person erased, meanwhile.
        execute format(
            'update %I set customer_id = $1 where id = $2 and customer_id is null and lower(email) = lower($3)', p_table)
        using their_id, each.id, each.email;
        linked := linked + 1;
    end loop;
end
$$;

revoke execute on function link_customers(text, bigint, integer) from public;
grant execute on function link_customers(text, bigint, integer) to gatehouse_ops;

-- migrate: down

drop function link_customers(text, bigint, integer);
