-- What a gateway's API answered about an object is kept as what it sent us is: whole, sealed, while retention says so.
-- migrate: up

-- The newest answer about each object. What is secret in it (card tokens, numbers) is masked before it is sealed.
create table gateway_answers (
    gateway text not null,
    account text not null,
    kind text not null,
    object_id text not null,
    merchant text not null,
    answered_at timestamptz not null,
    job_id bigint not null,  -- the job that asked
    key_id text not null,
    sealed bytea not null,
    primary key (gateway, account, kind, object_id)
);

create index gateway_answers_answered on gateway_answers (answered_at);

alter table gateway_answers enable row level security, force row level security;
create policy own_merchant on gateway_answers to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on gateway_answers to gatehouse_worker, gatehouse_ops, current_user using (true);

grant select, insert, update on gateway_answers to gatehouse_worker, gatehouse_ops;

-- Deletes the answers that are older than some days, or only counts them.
create function drop_old_answers(p_days integer, p_dry_run boolean) returns bigint
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    before timestamptz := now() - make_interval(days => p_days);
    found bigint;
begin
    if p_days < 1 then
        raise exception using errcode = '22023', message = 'answers are kept for a day at least';
    end if;
    if p_dry_run then
        select count(*) into found from gateway_answers where answered_at < before;
    else
        delete from gateway_answers where answered_at < before;
        get diagnostics found = row_count;
    end if;
    return found;
end
$$;

-- Returns everything that facts are folded into and that is about one person, by address or by what leads to them.
create or replace function subjects_of_person(p_merchant text, p_email_key text, p_customer_id bigint)
returns table (kind text, id bigint)
language plpgsql stable as $$
begin
    return query
    with theirs as (
        select g.id, g.gateway, g.account, g.gateway_id from gateway_customers g
        where g.merchant = p_merchant and (lower(g.email) = p_email_key or g.customer_id = p_customer_id)
    ), paid as (
        select coalesce(p.merged_into, p.id) as id from payments p
        where p.merchant = p_merchant and lower(p.email) = p_email_key
        union
        select coalesce(p.merged_into, p.id) from payments p
        where p.merchant = p_merchant and p.customer_id = p_customer_id
        union
        select coalesce(p.merged_into, p.id) from theirs t
        join payments p on p.merchant = p_merchant and p.customer_ref = t.gateway_id and p.gateway = t.gateway
            and p.account = t.account
        union
        select coalesce(p.merged_into, p.id) from orders o join payments p on p.order_id = o.id
        where o.merchant = p_merchant and o.customer_id = p_customer_id
    )
    select 'customer', t.id from theirs t
    union
    -- Known by the invoice alone: its customer has another number there than the payment says.
    select 'customer', g.id from paid p
    join payments pp on pp.id = p.id
    join invoices i on i.gateway = pp.gateway and i.account = pp.account and i.gateway_id = pp.invoice_ref
    join gateway_customers g on g.gateway = i.gateway and g.account = i.account and g.gateway_id = i.customer_ref
    union
    select 'payment', p.id from paid p
    union
    select 'subscription', s.id from subscriptions s
    where s.merchant = p_merchant and (lower(s.email) = p_email_key or lower(s.user_id) = p_email_key or exists (
        select from theirs t
        where t.gateway = s.gateway and t.account = s.account and t.gateway_id = s.customer_ref))
    union
    select 'invoice', i.id from invoices i
    where i.merchant = p_merchant and (lower(i.email) = p_email_key or exists (
        select from theirs t
        where t.gateway = i.gateway and t.account = i.account and t.gateway_id = i.customer_ref))
    union
    select 'invoice', i.id from paid p
    join payments pp on pp.id = p.id
    join invoices i on i.gateway = pp.gateway and i.account = pp.account and i.gateway_id = pp.invoice_ref
    union
    select 'refund', r.id from paid p join refunds r on r.payment_id = p.id
    union
    select 'dispute', d.id from paid p join disputes d on d.payment_id = p.id
    union
    select 'payout', o.id from payouts o where o.merchant = p_merchant and lower(o.destination) = p_email_key;
end
$$;

-- The names that gateways have for what is known of a person; `p_theirs` holds the ids of their rows by kind.
create function names_of_person(p_theirs jsonb)
returns table (gateway text, account text, kind text, object_id text)
language sql stable as $$
    select po.gateway, po.account, po.kind, po.object_id from payment_objects po
    where po.payment_id in (select jsonb_array_elements_text(p_theirs -> 'payment')::bigint)
    union
    select sn.gateway, sn.account, sn.kind, sn.object_id
    from jsonb_each(p_theirs) as kinds, jsonb_array_elements_text(kinds.value) as one
    join subject_names sn on sn.subject_id = one::bigint
    where sn.subject_kind = kinds.key
$$;

-- Deletes what the gateways' APIs answered about a person; how many answers.
create function erase_person_in_gateway_answers(
    p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[]
) returns bigint
language plpgsql as $$
declare
    erased bigint;
begin
    delete from gateway_answers a using names_of_person(p_theirs) n
    where a.gateway = n.gateway and a.account = n.account and a.kind = n.kind and a.object_id = n.object_id
      and a.merchant = p_merchant;
    get diagnostics erased = row_count;
    return erased;
end
$$;

-- Tells what was answered about a person, and when; the answers themselves are sealed.
create function export_person_in_gateway_answers(
    p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[]
) returns jsonb
language sql stable as $$
    select coalesce(jsonb_agg(
        jsonb_build_object('gateway', a.gateway, 'account', a.account, 'kind', a.kind, 'object_id', a.object_id,
            'answered_at', a.answered_at) order by a.answered_at, a.object_id), '[]')
    from gateway_answers a
    join names_of_person(p_theirs) n using (gateway, account, kind, object_id)
    where a.merchant = p_merchant
$$;

-- Keeps what is told of an erased person from bringing anything personal back: no fact, and not what it was read from.
-- Somebody who came back by ordering again is a customer again, for what happens from then on.
create or replace function respect_erasure() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    said_email text := lower(
        case when new.kind = 'payout' then new.words ->> 'destination' else new.words ->> 'email' end);
    ref text := case when new.kind = 'customer' then new.words ->> 'gateway_id' else new.words ->> 'customer_ref' end;
    paid record;
    is_erased boolean := false;
begin
    if said_email is not null then
        -- An erasure of this address waits until we are done, or we until it is.
        perform pg_advisory_xact_lock_shared(hashtextextended(new.merchant || '/erasure/' || said_email, 0));
    end if;
    if not exists (select from erased_customers where merchant = new.merchant) then
        return new;
    end if;
    if said_email is not null then
        is_erased := exists (
            select from erased_customers e
            where e.merchant = new.merchant and e.what = 'email' and e.said_hash = erasure_hash(said_email)
              and not (new.occurred_at > e.erased_at and exists (
                  select from customers c where c.merchant = new.merchant and c.email_key = said_email)));
        if is_erased and ref is not null then  -- what says this and no address is theirs too
            insert into erased_customers (merchant, what, said_hash)
            values (new.merchant, 'customer_ref', erasure_hash(concat_ws('/', new.gateway, new.account, ref)))
            on conflict (merchant, what, said_hash) do nothing;
        end if;
    elsif new.kind = 'refund' then
        select p.customer_ref, c.erased_at is not null as is_erased into paid
        from payments p left join customers c on c.id = p.customer_id
        where p.id = (payments_named(new.gateway, new.account, new.words -> 'payment'))[1];
        is_erased := coalesce(paid.is_erased, false);
        ref := paid.customer_ref;
    end if;
    if not is_erased and said_email is null and ref is not null then
        is_erased := exists (
            select from erased_customers e
            where e.merchant = new.merchant and e.what = 'customer_ref'
              and e.said_hash = erasure_hash(concat_ws('/', new.gateway, new.account, ref)));
    end if;
    if is_erased then
        new.words := without_personal_words(new.kind, new.words);
        delete from webhook_payloads where webhook_event_id = new.webhook_event_id;
        perform set_config('gatehouse.was_erased', 'yes', true);  -- so the answer that says it is not kept either
    end if;
    return new;
end
$$;

revoke execute on function drop_old_answers(integer, boolean) from public;
revoke execute on function names_of_person(jsonb),
    erase_person_in_gateway_answers(text, text, bigint, jsonb, bigint[]),
    export_person_in_gateway_answers(text, text, bigint, jsonb, bigint[]) from public;
grant execute on function drop_old_answers(integer, boolean) to gatehouse_worker, gatehouse_ops;

-- migrate: down

create or replace function respect_erasure() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    said_email text := lower(
        case when new.kind = 'payout' then new.words ->> 'destination' else new.words ->> 'email' end);
    ref text := case when new.kind = 'customer' then new.words ->> 'gateway_id' else new.words ->> 'customer_ref' end;
    paid record;
    is_erased boolean := false;
begin
    if said_email is not null then
        -- An erasure of this address waits until we are done, or we until it is.
        perform pg_advisory_xact_lock_shared(hashtextextended(new.merchant || '/erasure/' || said_email, 0));
    end if;
    if not exists (select from erased_customers where merchant = new.merchant) then
        return new;
    end if;
    if said_email is not null then
        is_erased := exists (
            select from erased_customers e
            where e.merchant = new.merchant and e.what = 'email' and e.said_hash = erasure_hash(said_email)
              and not (new.occurred_at > e.erased_at and exists (
                  select from customers c where c.merchant = new.merchant and c.email_key = said_email)));
        if is_erased and ref is not null then  -- what says this and no address is theirs too
            insert into erased_customers (merchant, what, said_hash)
            values (new.merchant, 'customer_ref', erasure_hash(concat_ws('/', new.gateway, new.account, ref)))
            on conflict (merchant, what, said_hash) do nothing;
        end if;
    elsif new.kind = 'refund' then
        select p.customer_ref, c.erased_at is not null as is_erased into paid
        from payments p left join customers c on c.id = p.customer_id
        where p.id = (payments_named(new.gateway, new.account, new.words -> 'payment'))[1];
        is_erased := coalesce(paid.is_erased, false);
        ref := paid.customer_ref;
    end if;
    if not is_erased and said_email is null and ref is not null then
        is_erased := exists (
            select from erased_customers e
            where e.merchant = new.merchant and e.what = 'customer_ref'
              and e.said_hash = erasure_hash(concat_ws('/', new.gateway, new.account, ref)));
    end if;
    if is_erased then
        new.words := without_personal_words(new.kind, new.words);
        delete from webhook_payloads where webhook_event_id = new.webhook_event_id;
    end if;
    return new;
end
$$;

drop function export_person_in_gateway_answers(text, text, bigint, jsonb, bigint[]);
drop function erase_person_in_gateway_answers(text, text, bigint, jsonb, bigint[]);
drop function names_of_person(jsonb);
create or replace function subjects_of_person(p_merchant text, p_email_key text, p_customer_id bigint)
returns table (kind text, id bigint)
language plpgsql stable as $$
begin
    return query
    with theirs as (
        select g.id, g.gateway, g.account, g.gateway_id from gateway_customers g
        where g.merchant = p_merchant and (lower(g.email) = p_email_key or g.customer_id = p_customer_id)
    ), paid as (
        select coalesce(p.merged_into, p.id) as id from payments p
        where p.merchant = p_merchant and lower(p.email) = p_email_key
        union
        select coalesce(p.merged_into, p.id) from payments p
        where p.merchant = p_merchant and p.customer_id = p_customer_id
        union
        select coalesce(p.merged_into, p.id) from theirs t
        join payments p on p.merchant = p_merchant and p.customer_ref = t.gateway_id and p.gateway = t.gateway
            and p.account = t.account
        union
        select coalesce(p.merged_into, p.id) from orders o join payments p on p.order_id = o.id
        where o.merchant = p_merchant and o.customer_id = p_customer_id
    )
    select 'customer', t.id from theirs t
    union
    select 'payment', p.id from paid p
    union
    select 'subscription', s.id from subscriptions s
    where s.merchant = p_merchant and (lower(s.email) = p_email_key or lower(s.user_id) = p_email_key or exists (
        select from theirs t
        where t.gateway = s.gateway and t.account = s.account and t.gateway_id = s.customer_ref))
    union
    select 'invoice', i.id from invoices i
    where i.merchant = p_merchant and (lower(i.email) = p_email_key or exists (
        select from theirs t
        where t.gateway = i.gateway and t.account = i.account and t.gateway_id = i.customer_ref))
    union
    select 'refund', r.id from paid p join refunds r on r.payment_id = p.id
    union
    select 'dispute', d.id from paid p join disputes d on d.payment_id = p.id
    union
    select 'payout', o.id from payouts o where o.merchant = p_merchant and lower(o.destination) = p_email_key;
end
$$;

drop function drop_old_answers(integer, boolean);
drop table gateway_answers;
