-- What a superuser does once to a cluster that takes tenants: a template whose databases tell a tenant nothing of others,
-- and without functions that serve to hold up, to listen in, or to leave something behind. Rights on the catalog belong to
-- each database, and a new one has those of its template.
-- Keepers (the roles that migrate) may do some of it: the roles gatehouse_tenant_keepers, made beforehand.
revoke all on schema public from public;
revoke select on pg_catalog.pg_database, pg_catalog.pg_roles, pg_catalog.pg_auth_members,
    pg_catalog.pg_db_role_setting, pg_catalog.pg_shdescription, pg_catalog.pg_shdepend, pg_catalog.pg_tablespace,
    pg_catalog.pg_user, pg_catalog.pg_group, pg_catalog.pg_stat_activity, pg_catalog.pg_stat_database,
    pg_catalog.pg_stat_database_conflicts, pg_catalog.pg_stat_replication, pg_catalog.pg_locks,
    pg_catalog.pg_prepared_xacts, pg_catalog.pg_stat_ssl, pg_catalog.pg_stat_gssapi from public;
do $$
declare
    each regprocedure;
begin
    for each in
        select p.oid::regprocedure from pg_catalog.pg_proc p
        where p.pronamespace = 'pg_catalog'::regnamespace
          and (
              p.proname ~ '^(lo_|pg_sleep|pg_advisory_|pg_try_advisory_|pg_stat_get_(activity|backend|db)|pg_lock)'
              or p.proname in ('pg_notify', 'pg_cancel_backend', 'pg_terminate_backend', 'lowrite', 'loread',
                  'pg_database_size', 'pg_tablespace_size', 'pg_tablespace_databases', 'pg_log_backend_memory_contexts',
                  'query_to_xml', 'query_to_xmlschema', 'query_to_xml_and_xmlschema', 'database_to_xml',
                  'database_to_xmlschema', 'database_to_xml_and_xmlschema', 'set_config', 'pg_export_snapshot',
                  'pg_current_logfile', 'inet_server_addr', 'inet_server_port')
          )
    loop
        execute format('revoke execute on function %s from public', each);
    end loop;
end
$$;
grant select on pg_catalog.pg_database, pg_catalog.pg_roles, pg_catalog.pg_stat_activity, pg_catalog.pg_locks
    to gatehouse_tenant_keepers;
do $$
declare
    each regprocedure;
begin
    for each in
        select p.oid::regprocedure from pg_catalog.pg_proc p
        where p.pronamespace = 'pg_catalog'::regnamespace
          and (
              p.proname ~ '^(pg_advisory_|pg_try_advisory_|pg_stat_get_(activity|backend)|pg_lock)'
              or p.proname in ('pg_terminate_backend', 'pg_cancel_backend', 'set_config')
          )
    loop
        execute format('grant execute on function %s to gatehouse_tenant_keepers', each);
    end loop;
end
$$;
