-- Who may do what in a tenant's database, run by its keeper after each migration. Safe to repeat.
-- {owner}, {developer} and {viewer} are replaced by the quoted names of the roles.
revoke all on schema public from public;
grant usage on schema public, auth, storage to {owner}, {developer}, {viewer};
grant create on schema public to {owner}, {developer};
grant create on schema storage to {owner};
do $$
declare
    each record;
begin
    for each in
        select c.oid::regclass as relation, c.relkind
        from pg_catalog.pg_class c
        where c.relnamespace in ('public'::regnamespace, 'storage'::regnamespace) and c.relkind in ('r', 'p', 'v')
          and c.relowner = current_user::regrole and c.relname <> 'gatehouse_migrations'
    loop
        execute format('alter table %s owner to {owner}', each.relation);
    end loop;
end
$$;
revoke create on schema storage from {owner};  -- it takes this to be given a table
grant select, insert, update, delete on all tables in schema public, storage to {developer};
grant select on all tables in schema public, storage to {viewer};
grant usage on all sequences in schema public, storage to {developer};
revoke all on public.gatehouse_migrations from {owner}, {developer}, {viewer};
alter default privileges for role {owner} in schema public grant select, insert, update, delete on tables to {developer};
alter default privileges for role {owner} in schema public grant select on tables to {viewer};
alter default privileges for role {owner} in schema public grant usage on sequences to {developer};
alter default privileges for role {developer} in schema public grant select on tables to {viewer};
