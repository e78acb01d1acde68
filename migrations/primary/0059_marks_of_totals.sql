-- What has changed is marked in the transaction that changes it, and counted after it: recording writes one short row
-- without an index, and nobody waits for anybody at a sum.
-- migrate: up

create function mark_total() returns trigger language plpgsql as $$
begin
    insert into total_marks (source, source_id, merchant) values (tg_argv[0], new.id, new.merchant);
    return null;
end
$$;

-- A refund or dispute also changes what its payment counts for: the one that it is of, and the one that it was of.
create function mark_total_of_part() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        insert into total_marks (source, source_id, merchant) values (tg_argv[0], old.id, old.merchant);
    else
        insert into total_marks (source, source_id, merchant) values (tg_argv[0], new.id, new.merchant);
    end if;
    if tg_op <> 'INSERT' and old.payment_id is not null then
        insert into total_marks (source, source_id, merchant) values ('payment', old.payment_id, old.merchant);
    end if;
    return null;
end
$$;

create trigger mark_payment_insert after insert on payments
    for each row execute function mark_total('payment');
create trigger mark_payment_update after update on payments
    for each row when (
        old.status is distinct from new.status or old.livemode is distinct from new.livemode
        or old.amount_minor is distinct from new.amount_minor or old.currency is distinct from new.currency
        or old.received_minor is distinct from new.received_minor
        or old.refunded_minor is distinct from new.refunded_minor
        or old.fee_minor is distinct from new.fee_minor or old.fee_currency is distinct from new.fee_currency
        or old.first_fact_at is distinct from new.first_fact_at
        or old.completed_at is distinct from new.completed_at
        or old.app is distinct from new.app or old.method is distinct from new.method
        or old.product_category is distinct from new.product_category
        or old.failure_code is distinct from new.failure_code
        or old.merged_into is distinct from new.merged_into)
    execute function mark_total('payment');
create trigger mark_refund after insert or update or delete on refunds
    for each row execute function mark_total_of_part('refund');
create trigger mark_dispute after insert or update or delete on disputes
    for each row execute function mark_total_of_part('dispute');
create trigger mark_order_insert after insert on orders
    for each row execute function mark_total('order');
create trigger mark_order_update after update on orders
    for each row when (
        old.status is distinct from new.status or old.livemode is distinct from new.livemode
        or old.currency is distinct from new.currency or old.event_id is distinct from new.event_id
        or old.total_minor is distinct from new.total_minor or old.paid_minor is distinct from new.paid_minor
        or old.refunded_minor is distinct from new.refunded_minor or old.tax_minor is distinct from new.tax_minor
        or old.fee_minor is distinct from new.fee_minor or old.discount_minor is distinct from new.discount_minor)
    execute function mark_total('order');

-- What is there already is counted like everything else.
insert into total_marks (source, source_id, merchant) select 'payment', id, merchant from payments;
insert into total_marks (source, source_id, merchant)
select 'refund', id, merchant from refunds where payment_id is null;
insert into total_marks (source, source_id, merchant)
select 'dispute', id, merchant from disputes where payment_id is null;
insert into total_marks (source, source_id, merchant) select 'order', id, merchant from orders;

-- migrate: down

drop trigger mark_order_update on orders;
drop trigger mark_order_insert on orders;
drop trigger mark_dispute on disputes;
drop trigger mark_refund on refunds;
drop trigger mark_payment_update on payments;
drop trigger mark_payment_insert on payments;
drop function mark_total_of_part();
drop function mark_total();
