-- Imports: begun or gone on with, and the batches of them. What happens inside a batch is in functions of the database.

-- name: find_import
-- The import of the same content for the same account, if there was one.
select id, job_id, place, rows_read, rows_recorded, rows_refused, started_at, finished_at
from imports
where gateway = :gateway::text and account = :account::text and content_hash = :content_hash::text;

-- name: begin_import
-- Begins an import, with the job that its facts are said by; one that is there already stays as it is.
with job as (
    insert into jobs (topic, business_key, merchant, arguments, status, finished_at)
    select 'import', :gateway::text || '/' || :account::text || '/' || :content_hash::text, :merchant::text,
        jsonb_build_object('gateway', :gateway::text, 'account', :account::text, 'source', :source::text),
        'done', now()
    on conflict (topic, business_key) do nothing
    returning id
)
insert into imports (merchant, gateway, account, source, content_hash, job_id)
select :merchant::text, :gateway::text, :account::text, :source::text, :content_hash::text, job.id from job
on conflict (gateway, account, content_hash) do nothing
returning id;

-- name: begin_again
-- Lets an import that is through begin anew; what it said is not said twice.
update imports set place = 0, finished_at = null, rows_read = 0, rows_recorded = 0, rows_refused = 0, updated_at = now()
where id = :id::bigint
returning id;

-- name: list_imports
-- The newest imports, of one merchant or all.
select id, merchant, gateway, account, source, rows_read, rows_recorded, rows_refused, started_by, started_at,
    updated_at, finished_at
from imports
where (:merchant::text is null or merchant = :merchant::text)
order by started_at desc, id desc
limit :most::integer;

-- name: import_payments
-- Writes the facts of a batch's payments and folds them; says how many were new.
select import_payment_facts(:merchant::text, :gateway::text, :account::text, :facts::jsonb, :job_id::bigint) as new;

-- name: import_others
-- Writes the facts of a batch's customers and refunds; says how many were new.
select import_other_facts(
    :merchant::text, :gateway::text, :account::text, :rows::jsonb, :job_id::bigint, :joining::boolean) as new;

-- name: go_on
-- Notes how far the import has come; refuses where it went on elsewhere.
select go_on_with_import(
    :id::bigint, :place::bigint, :next_place::bigint, :read::bigint, :recorded::bigint, :refused::bigint,
    :is_end::boolean) as noted;

-- name: ask_for
-- Leaves a job for the details of each object; the sweeper rings for them, so that events go first.
insert into jobs (topic, business_key, merchant, arguments)
select 'refetch', missing.key, :merchant::text, missing.arguments
from jsonb_to_recordset(:missing::jsonb) as missing (key text, arguments jsonb)
order by missing.key
on conflict (topic, business_key) do nothing;

-- name: names_known
-- Which of these payments and refunds are there already.
select named.kind, named.id
from jsonb_to_recordset(:names::jsonb) as named (kind text, id text),
     lateral (
         select from subject_names each
         where each.gateway = :gateway::text and each.account = :account::text and each.kind = named.kind
           and each.object_id = named.id and each.subject_kind = 'refund'
         limit 1
     ) as refund
where named.kind = 'refund'
union
select po.kind, po.object_id
from jsonb_to_recordset(:names::jsonb) as named (kind text, id text),
     lateral (
         select each.kind, each.object_id from payment_objects each
         where each.gateway = :gateway::text and each.account = :account::text and each.kind = named.kind
           and each.object_id = named.id
         limit 1
     ) as po;
