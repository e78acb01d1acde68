-- The roles of the backup database: one that writes every merchant's payments, one that reads a merchant's.
-- They cannot log in until whoever runs the database gives them a password.
-- migrate: up

-- Roles belong to the whole server: another database of it may have made them already, or make them this moment.
do $$
declare
    wanted text;
    bypasses boolean;
begin
    foreach wanted in array array['gatehouse_backup_writer', 'gatehouse_backup_reader'] loop
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
