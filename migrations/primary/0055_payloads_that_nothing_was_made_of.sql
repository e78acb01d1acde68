-- An event that failed or was ignored left nothing by which its person could be found. Whoever has the data keys looks
-- into its bytes, and has them deleted by this.
-- migrate: up

-- Deletes the sealed bytes of some events of the merchant that this transaction works for; returns how many.
create function erase_payloads(p_events bigint[]) returns bigint
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    gone bigint;
begin
    delete from webhook_payloads where merchant = working_for() and webhook_event_id = any (p_events);
    get diagnostics gone = row_count;
    return gone;
end
$$;

revoke execute on function erase_payloads(bigint[]) from public;
grant execute on function erase_payloads(bigint[]) to gatehouse_ops;

-- migrate: down

drop function erase_payloads(bigint[]);
