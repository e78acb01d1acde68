-- Describes a schema from the catalogue, so that two databases can be compared line by line.
-- Each statement returns rows of (object, part, statement): what it belongs to, its place there, and its SQL.
-- The words must be the same on Postgres 15 to 18, whoever owns the database, and in whatever month.

-- name: described_relations
-- Lists tables, views and sequences; not the ledger, not extensions', not what comes and goes: the partitions of months,
-- the views of apps that somebody added.
select c.oid::bigint as oid
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
  and c.oid::regclass::text <> 'gatehouse_migrations'
  and not (c.relispartition and pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT')
  and not exists (
      select from pg_catalog.pg_depend d
      where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid
        and (d.deptype = 'e' or (c.relkind = 'S' and d.deptype in ('a', 'i')))
  )
  and (
      -- The view of an app that somebody added: it says so itself, and reads app_transactions and nothing else.
      c.relkind = 'v' and c.relname like '%\_subscriptions' and c.reloptions = '{security_invoker=true}'
      and obj_description(c.oid, 'pg_class') = 'made by make_app_view'
      and (
          select array_agg(distinct d.refobjid::regclass::text)
          from pg_catalog.pg_rewrite r
          join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = r.oid
          where r.ev_class = c.oid and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid <> c.oid
      ) = '{app_transactions}'
  ) is not true;  -- a view without options has none to compare

-- name: schemas_and_extensions
-- Schemas beside public, and extensions without their version.
select '' as object, '1 ' || nspname as part, format('CREATE SCHEMA %I;', nspname) as statement
from pg_catalog.pg_namespace
where nspname !~ '^pg_' and nspname not in ('public', 'information_schema')
union all
select '', '2 ' || extname, format('CREATE EXTENSION %I;', extname)
from pg_catalog.pg_extension
where extname <> 'plpgsql';

-- name: types
-- Enum types and domains.
select t.oid::regtype::text as object, '0' as part,
    case t.typtype
        when 'e' then format('CREATE TYPE %s AS ENUM (%s);', t.oid::regtype, (
            select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder)
            from pg_catalog.pg_enum e where e.enumtypid = t.oid))
        else format('CREATE DOMAIN %s AS %s%s%s%s;', t.oid::regtype, format_type(t.typbasetype, t.typtypmod),
            coalesce(' DEFAULT ' || t.typdefault, ''),
            case when t.typnotnull then ' NOT NULL' else '' end,
            (select string_agg(format(' CONSTRAINT %I %s', k.conname, pg_get_constraintdef(k.oid)), '' order by k.conname)
             from pg_catalog.pg_constraint k where k.contypid = t.oid and k.contype = 'c'))
    end as statement
from pg_catalog.pg_type t
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
where t.typtype in ('e', 'd') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (select from pg_catalog.pg_depend d where d.objid = t.oid and d.deptype = 'e');

-- name: sequences
-- Sequences that belong to no column.
select c.oid::regclass::text as object, '0' as part,
    format('CREATE SEQUENCE %s AS %s INCREMENT BY %s MINVALUE %s MAXVALUE %s START WITH %s CACHE %s%s;', c.oid::regclass,
        format_type(s.seqtypid, null), s.seqincrement, s.seqmin, s.seqmax, s.seqstart, s.seqcache,
        case when s.seqcycle then ' CYCLE' else '' end) as statement
from pg_catalog.pg_sequence s
join pg_catalog.pg_class c on c.oid = s.seqrelid
where c.oid = any (:relations::bigint[]);

-- name: tables
-- Tables with their columns and constraints. NOT NULL is read from the column: only Postgres 18 keeps it as a constraint.
select c.oid::regclass::text as object, '0' as part,
    case when c.relispartition
        then format('CREATE TABLE %s PARTITION OF %s %s', c.oid::regclass,
            (select inhparent::regclass from pg_catalog.pg_inherits where inhrelid = c.oid),
            pg_get_expr(c.relpartbound, c.oid))
        else format(E'CREATE %sTABLE %s (\n%s\n)%s', case c.relpersistence when 'u' then 'UNLOGGED ' else '' end,
            c.oid::regclass, lines.text,
            case when c.relkind = 'p' then ' PARTITION BY ' || pg_get_partkeydef(c.oid) else '' end)
    end || coalesce(' WITH (' || array_to_string(c.reloptions, ', ') || ')', '') || ';' as statement
from pg_catalog.pg_class c
cross join lateral (
    select string_agg('    ' || line.text, E',\n' order by line.place, line.name) as text
    from (
        select a.attnum::integer as place, a.attname::text as name,
            format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod))
            || case when a.attcollation <> t.typcollation and a.attcollation <> 0
                then ' COLLATE ' || a.attcollation::regcollation else '' end
            || case when a.attstorage <> t.typstorage
                then ' STORAGE ' || case a.attstorage when 'p' then 'PLAIN' when 'e' then 'EXTERNAL'
                    when 'x' then 'EXTENDED' else 'MAIN' end else '' end
            || case when a.attnotnull then ' NOT NULL' else '' end
            || case a.attidentity when 'a' then ' GENERATED ALWAYS AS IDENTITY'
                when 'd' then ' GENERATED BY DEFAULT AS IDENTITY' else '' end
            || case when a.attgenerated <> '' then format(' GENERATED ALWAYS AS (%s)%s', pg_get_expr(d.adbin, d.adrelid),
                    case a.attgenerated when 's' then ' STORED' else ' VIRTUAL' end)
                when d.adbin is not null then ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) else '' end as text
        from pg_catalog.pg_attribute a
        join pg_catalog.pg_type t on t.oid = a.atttypid
        left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        union all
        select 10000 + position(k.contype::text in 'pucxf'), k.conname,
            format('CONSTRAINT %I %s', k.conname, pg_get_constraintdef(k.oid))
        from pg_catalog.pg_constraint k
        where k.conrelid = c.oid and k.contype in ('p', 'u', 'c', 'x', 'f')
    ) as line
) as lines
where c.relkind in ('r', 'p', 'f') and c.oid = any (:relations::bigint[]);

-- name: views
-- Views. Which column names carry their table's name depends on the version of Postgres, so none does here.
select c.oid::regclass::text as object, '0' as part,
    format('CREATE %sVIEW %s%s AS %s', case c.relkind when 'm' then 'MATERIALIZED ' else '' end, c.oid::regclass,
        coalesce(' WITH (' || array_to_string(c.reloptions, ', ') || ')', ''),
        regexp_replace(regexp_replace(ltrim(pg_get_viewdef(c.oid)), '\m[a-z_]\w*\.(?=[\w"])', '', 'g'), '\s+', ' ', 'g')
    ) as statement
from pg_catalog.pg_class c
where c.relkind in ('v', 'm') and c.oid = any (:relations::bigint[]);

-- name: indexes
-- Indexes that no constraint makes and that come from no partitioned table.
select x.indrelid::regclass::text as object, '1 ' || i.relname as part, pg_get_indexdef(i.oid) || ';' as statement
from pg_catalog.pg_index x
join pg_catalog.pg_class i on i.oid = x.indexrelid
where x.indrelid = any (:relations::bigint[]) and not i.relispartition
  and not exists (select from pg_catalog.pg_constraint k where k.conindid = i.oid and k.contype in ('p', 'u', 'x'));

-- name: row_security
-- Which tables have row-level security, and whether it holds for their owner too.
select c.oid::regclass::text as object, '2' as part,
    format('ALTER TABLE %s %s;', c.oid::regclass, concat_ws(', ',
        case when c.relrowsecurity then 'ENABLE ROW LEVEL SECURITY' end,
        case when c.relforcerowsecurity then 'FORCE ROW LEVEL SECURITY' end)) as statement
from pg_catalog.pg_class c
where (c.relrowsecurity or c.relforcerowsecurity) and c.oid = any (:relations::bigint[]);

-- name: policies
-- Row-level security policies; the owner of the table, whoever that is, is CURRENT_USER.
select p.polrelid::regclass::text as object, '3 ' || p.polname as part,
    format('CREATE POLICY %I ON %s%s FOR %s TO %s%s%s;', p.polname, p.polrelid::regclass,
        case when p.polpermissive then '' else ' AS RESTRICTIVE' end,
        case p.polcmd when 'r' then 'SELECT' when 'a' then 'INSERT' when 'w' then 'UPDATE' when 'd' then 'DELETE'
            else 'ALL' end,
        (select string_agg(name, ', ' order by name) from (
            select case when role = 0 then 'PUBLIC' when role = c.relowner then 'CURRENT_USER'
                else quote_ident(pg_get_userbyid(role)) end as name
            from unnest(p.polroles) as role) as roles),
        coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', ''),
        coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')) as statement
from pg_catalog.pg_policy p
join pg_catalog.pg_class c on c.oid = p.polrelid
where p.polrelid = any (:relations::bigint[]);

-- name: triggers
-- Triggers and rules.
select t.tgrelid::regclass::text as object, '4 ' || t.tgname as part,
    pg_get_triggerdef(t.oid) || ';' || case t.tgenabled when 'O' then '' else format(E'\nALTER TABLE %s %s TRIGGER %I;',
        t.tgrelid::regclass,
        case t.tgenabled when 'D' then 'DISABLE' when 'A' then 'ENABLE ALWAYS' else 'ENABLE REPLICA' end,
        t.tgname) end as statement
from pg_catalog.pg_trigger t
where t.tgrelid = any (:relations::bigint[]) and not t.tgisinternal and t.tgparentid = 0
union all
select r.ev_class::regclass::text, '5 ' || r.rulename, pg_get_ruledef(r.oid)
from pg_catalog.pg_rewrite r
where r.ev_class = any (:relations::bigint[]) and r.rulename <> '_RETURN';

-- name: comments
-- What COMMENT ON says of tables, views and columns.
select c.oid::regclass::text as object, '6 ' || d.objsubid as part,
    format('COMMENT ON %s %s IS %L;',
        case when d.objsubid > 0 then 'COLUMN' when c.relkind = 'v' then 'VIEW'
            when c.relkind = 'm' then 'MATERIALIZED VIEW' when c.relkind = 'S' then 'SEQUENCE' else 'TABLE' end,
        c.oid::regclass || coalesce('.' || quote_ident(a.attname), ''), d.description) as statement
from pg_catalog.pg_description d
join pg_catalog.pg_class c on c.oid = d.objoid and d.classoid = 'pg_catalog.pg_class'::regclass
left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = d.objsubid and d.objsubid > 0
where c.oid = any (:relations::bigint[]);

-- name: functions
-- Functions and procedures.
select p.oid::regprocedure::text as object, '0' as part, rtrim(pg_get_functiondef(p.oid), E'\n') || ';' as statement
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where p.prokind in ('f', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (select from pg_catalog.pg_depend d where d.objid = p.oid and d.deptype = 'e')
union all
-- Everybody may execute a new function; that somebody took this away shows as a line of its own.
select p.oid::regprocedure::text, '1', format('REVOKE ALL ON FUNCTION %s FROM PUBLIC;', p.oid::regprocedure)
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where p.prokind in ('f', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (select from pg_catalog.pg_depend d where d.objid = p.oid and d.deptype = 'e')
  and not exists (
      select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) where grantee = 0
  );

-- name: grants
-- Who may do what; what an owner may do goes without saying, and so does what everybody may by default.
with privileges as (
    select c.oid::regclass::text as object, 'TABLE' as kind, c.oid::regclass::text as name, '' as columns,
        acl.grantee, acl.privilege_type, acl.is_grantable
    from pg_catalog.pg_class c, aclexplode(c.relacl) as acl
    where c.oid = any (:relations::bigint[]) and c.relkind <> 'S' and acl.grantee <> c.relowner
    union all
    select c.oid::regclass::text, 'SEQUENCE', c.oid::regclass::text, '',
        acl.grantee, acl.privilege_type, acl.is_grantable
    from pg_catalog.pg_class c, aclexplode(c.relacl) as acl
    where c.oid = any (:relations::bigint[]) and c.relkind = 'S' and acl.grantee <> c.relowner
    union all
    select c.oid::regclass::text, 'TABLE', c.oid::regclass::text,
        format(' (%s)', string_agg(quote_ident(a.attname), ', ' order by a.attnum)),
        acl.grantee, acl.privilege_type, acl.is_grantable
    from pg_catalog.pg_class c
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and not a.attisdropped, aclexplode(a.attacl) as acl
    where c.oid = any (:relations::bigint[]) and acl.grantee <> c.relowner
    group by c.oid, acl.grantee, acl.privilege_type, acl.is_grantable
    union all
    select p.oid::regprocedure::text, 'FUNCTION', p.oid::regprocedure::text, '',
        acl.grantee, acl.privilege_type, acl.is_grantable
    from pg_catalog.pg_proc p
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace, aclexplode(p.proacl) as acl
    where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and acl.grantee not in (0, p.proowner)
      and not exists (select from pg_catalog.pg_depend d where d.objid = p.oid and d.deptype = 'e')
    union all
    select '', 'SCHEMA', quote_ident(n.nspname), '', acl.grantee, acl.privilege_type, acl.is_grantable
    from pg_catalog.pg_namespace n, aclexplode(n.nspacl) as acl
    where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and acl.grantee <> n.nspowner
)
select object, format('9 %s %s', kind, granted) as part,
    format('GRANT %s ON %s %s TO %s%s;', granted, kind, name, string_agg(role, ', ' order by role),
        case when is_grantable then ' WITH GRANT OPTION' else '' end) as statement
from (
    select object, kind, name, is_grantable,
        case when grantee = 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(grantee)) end as role,
        string_agg(privilege_type || columns, ', ' order by privilege_type, columns) as granted
    from privileges
    -- MAINTAIN exists from Postgres 17 on and comes with ALL; without it ALL reads the same everywhere.
    where privilege_type <> 'MAINTAIN'
    group by object, kind, name, is_grantable, grantee
) as of_one_role
group by object, kind, name, granted, is_grantable;

-- name: default_privileges
-- What new objects will grant by themselves.
select '' as object, format('9 default %s %s', d.defaclobjtype, pg_get_userbyid(acl.grantee)) as part,
    format('ALTER DEFAULT PRIVILEGES%s GRANT %s ON %s TO %s;',
        coalesce(' IN SCHEMA ' || quote_ident(n.nspname), ''),
        string_agg(acl.privilege_type, ', ' order by acl.privilege_type),
        case d.defaclobjtype when 'r' then 'TABLES' when 'S' then 'SEQUENCES' when 'f' then 'FUNCTIONS'
            when 'T' then 'TYPES' else 'SCHEMAS' end,
        case when acl.grantee = 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(acl.grantee)) end) as statement
from pg_catalog.pg_default_acl d
left join pg_catalog.pg_namespace n on n.oid = d.defaclnamespace, aclexplode(d.defaclacl) as acl
where acl.grantee <> d.defaclrole and acl.privilege_type <> 'MAINTAIN'
group by d.defaclobjtype, acl.grantee, n.nspname;
