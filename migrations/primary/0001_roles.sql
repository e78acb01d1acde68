-- The roles that the functions and people work as (docs/migrations.md). They cannot log in until whoever runs the
-- database gives them a password: `alter role gatehouse_intake login password '…'`.
-- migrate: up

-- Roles belong to the whole server: another database of it may have made them already, or make them this moment.
do $$
declare
    wanted text;
    bypasses boolean;
begin
    foreach wanted in array array['gatehouse_intake', 'gatehouse_worker', 'gatehouse_api', 'gatehouse_ops'] loop
        begin
            execute format('create role %I nologin', wanted);
        exception when duplicate_object or unique_violation then
            null;
        end;
        select rolsuper or rolbypassrls into bypasses from pg_catalog.pg_roles where rolname = wanted;
        if bypasses then
            raise exception 'role % exists and is not held by row-level security: alter role % nosuperuser nobypassrls',
                wanted, wanted;
        end if;
    end loop;
end
$$;

-- migrate: down

-- The roles stay: other databases of the server may use them, and a role that is used somewhere cannot be dropped.
-- On a server that is left for good: drop role gatehouse_intake, gatehouse_worker, gatehouse_api, gatehouse_ops;
