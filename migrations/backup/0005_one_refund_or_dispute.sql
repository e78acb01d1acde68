-- One refund or dispute by its id, although each lies inside its payment.
-- migrate: up

create index payment_services_refunds on payment_services using gin (refunds jsonb_path_ops) where refunds is not null;
create index payment_services_disputes on payment_services using gin (disputes jsonb_path_ops) where disputes is not null;

-- As the owner: what an index over JSON finds would otherwise be looked at only after the policies have seen every row.
-- So the merchant is compared here.
create function payment_of_refund(p_refund bigint) returns bigint
language sql stable security definer set search_path = public, pg_temp as $$
    select id from payment_services
    where refunds @> jsonb_build_array(jsonb_build_object('id', p_refund))
      and merchant = current_setting('gatehouse.merchant', true)
    limit 1
$$;

create function payment_of_dispute(p_dispute bigint) returns bigint
language sql stable security definer set search_path = public, pg_temp as $$
    select id from payment_services
    where disputes @> jsonb_build_array(jsonb_build_object('id', p_dispute))
      and merchant = current_setting('gatehouse.merchant', true)
    limit 1
$$;

revoke execute on function payment_of_refund(bigint), payment_of_dispute(bigint) from public;
grant execute on function payment_of_refund(bigint), payment_of_dispute(bigint)
    to gatehouse_backup_writer, gatehouse_backup_reader;

-- migrate: down

drop function payment_of_dispute(bigint);
drop function payment_of_refund(bigint);
drop index payment_services_disputes;
drop index payment_services_refunds;
