-- An API key may belong to a user, who keeps what was granted to him when the key is replaced.
-- migrate: up

alter table api_keys add column user_id text check (user_id ~ '^[!-~]{1,200}$');

-- Says whose a key is that has shown itself; the API cannot read the table itself.
create function user_of_key(p_id text) returns text
language sql stable security definer set search_path = public, pg_temp as $$
    select user_id from api_keys where id = p_id
$$;

revoke execute on function user_of_key(text) from public;
grant execute on function user_of_key(text) to gatehouse_api;

-- migrate: down

drop function user_of_key(text);
alter table api_keys drop column user_id;
