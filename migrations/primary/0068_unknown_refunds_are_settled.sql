-- Whoever has looked at the gateway says what became of a refund that nobody knew about: made under a name, or not made.
-- migrate: up

-- Settles an unknown refund: as the one that the gateway calls so and that an event has told of, or, without a name, as
-- one that was not made.
create function settle_unknown_refund(p_id uuid, p_made_as text) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    merchant_now text := working_for();
    held refund_requests;
    made refunds;
    ours jsonb := jsonb_build_object('kind', 'gatehouse_refund', 'id', p_id);
begin
    select * into held from refund_requests where id = p_id and merchant = merchant_now;
    if held.id is null then
        raise exception using errcode = 'GH008', message = 'there is no such refund';
    end if;
    -- Two rows become one, so nothing else of the account is recorded meanwhile.
    perform pg_advisory_xact_lock(account_lock(held.gateway, held.account));
    select * into held from refund_requests where id = p_id for update;
    if held.state <> 'unknown' then
        raise exception using errcode = 'GH009', message = 'the refund is ' || held.state || ', not unknown';
    end if;
    if p_made_as is not null then
        select r.* into made from subject_names n join refunds r on r.id = n.subject_id
        where n.gateway = held.gateway and n.account = held.account and n.subject_kind = 'refund'
          and n.kind = 'refund' and n.object_id = p_made_as;
        if made.id is null then
            raise exception using errcode = 'GH008',
                message = 'no refund of this name was told of at ' || held.gateway || ' ' || held.account
                    || ': compare the day with its list first';
        elsif exists (
            select from subject_names
            where subject_kind = 'refund' and subject_id = made.id and kind = 'gatehouse_refund') then
            raise exception using errcode = 'GH009', message = 'this refund was made for another request';
        elsif made.amount_minor is distinct from held.amount_minor or made.payment_id is distinct from (
            select coalesce(merged_into, id) from payments where id = held.payment_id) then
            perform refuse_field('made_as', 'is a refund of another payment, or of another amount');
        end if;
    end if;
    perform apply_facts(
        merchant_now, held.gateway, held.account,
        jsonb_build_object('payments', '[]'::jsonb, 'others', jsonb_build_array(jsonb_build_object(
            'kind', 'refund', 'rank', 1,
            'objects', case
                when p_made_as is null then jsonb_build_array(ours)
                else jsonb_build_array(jsonb_build_object('kind', 'refund', 'id', p_made_as), ours)
            end,
            'words', case
                when p_made_as is null
                then jsonb_build_object('status', 'failed', 'failure_message', 'it was not made, as a person has seen')
                else jsonb_build_object('gateway_id', p_made_as)
            end))),
        'request ' || held.id || ' settled', null, held.job_id, now(), now(), true);
    update refund_requests set
        state = case when p_made_as is null then 'failed' else 'sent' end,
        failure = case when p_made_as is null then 'it was not made, as a person has seen' end, updated_at = now()
    where id = held.id;
end
$$;

revoke execute on function settle_unknown_refund(uuid, text) from public;
grant execute on function settle_unknown_refund(uuid, text) to gatehouse_ops;

-- migrate: down

drop function settle_unknown_refund(uuid, text);
