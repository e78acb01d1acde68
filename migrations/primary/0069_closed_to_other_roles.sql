-- Nobody but the functions' roles may connect to this database: where tenants live on the same server, their roles cannot
-- so much as knock. Whoever runs other tools on it grants them CONNECT by name.
-- migrate: up

do $$
declare
    may_say boolean := pg_has_role(current_user, (select datdba from pg_catalog.pg_database where datname = current_database()), 'usage');
begin
    if may_say then
        execute format('grant connect on database %I to gatehouse_intake, gatehouse_worker, gatehouse_api, gatehouse_ops',
            current_database());
        execute format('revoke connect on database %I from public', current_database());
    else
        raise warning 'only the owner of the database can close it: revoke connect on database % from public',
            quote_ident(current_database());
    end if;
end
$$;

-- migrate: down

do $$
begin
    if pg_has_role(current_user, (select datdba from pg_catalog.pg_database where datname = current_database()), 'usage') then
        execute format('grant connect on database %I to public', current_database());
        execute format('revoke connect on database %I from gatehouse_intake, gatehouse_worker, gatehouse_api, gatehouse_ops',
            current_database());
    end if;
end
$$;
