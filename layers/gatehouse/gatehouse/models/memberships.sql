-- Memberships of one merchant. Each statement that shows patients also notes who read which of them: rows and note are
-- one statement, so there is never one without the other.

-- name: list_by_name
-- Memberships by the patient's name, with any of the filters.
with found as (
    select id, merchant, gateway, account, customer_ref, livemode, category, name, email, product_name, status,
           status_by_rule, status_by_hand, status_reason, status_set_by, status_set_at, started_at, last_payment_at,
           next_expected_at, renews_every, renewal_missed_at, amount_minor, currency, payment_count,
           google_review_submitted, referral_source, fulfillment_type, version, created_at, updated_at, name_key
    from memberships
    where merchant = :merchant::text
      and (:tab::text is null or (category = :tab::text and status <> 'canceled'))
      and (:one_status::text is null or status = :one_status::text)  -- one alone is looked up in order
      and (:status::text[] is null or status = any (:status::text[]))
      and (:livemode::boolean is null or livemode = :livemode::boolean)
      and (:google_review_submitted::boolean is null or google_review_submitted = :google_review_submitted::boolean)
      and (:referral_source::text is null or referral_source = :referral_source::text)
      and (:fulfillment_type::text is null or fulfillment_type = :fulfillment_type::text)
      and (:renewal_missed::boolean is null or (renewal_missed_at is not null) = :renewal_missed::boolean)
      and (:started_since::timestamptz is null or started_at >= :started_since::timestamptz)
      and (:started_before::timestamptz is null or started_at < :started_before::timestamptz)
      and (:paid_since::timestamptz is null or last_payment_at >= :paid_since::timestamptz)
      and (:paid_before::timestamptz is null or last_payment_at < :paid_before::timestamptz)
      and (:text::text is null or id = any (array(select membership_id from memberships_with_words(:text::text))))
      and (:after_key::text is null or (name_key, id) > (:after_key::text, :after_id::bigint))
    order by name_key, id
    limit :most::integer
), noted as (
    insert into health_data_reads (merchant, reader, kind, filters, row_ids, row_count)
    select :merchant::text, :reader::text, :kind::text, :asked::jsonb, coalesce(array_agg(id), '{}'), count(*)
    from (select id from found order by name_key, id limit :shown::integer) as seen
)
select * from found order by name_key, id;

-- name: list_by_start
-- Memberships by their start, the newest first, with any of the filters.
with found as (
    select id, merchant, gateway, account, customer_ref, livemode, category, name, email, product_name, status,
           status_by_rule, status_by_hand, status_reason, status_set_by, status_set_at, started_at, last_payment_at,
           next_expected_at, renews_every, renewal_missed_at, amount_minor, currency, payment_count,
           google_review_submitted, referral_source, fulfillment_type, version, created_at, updated_at
    from memberships
    where merchant = :merchant::text
      and (:tab::text is null or (category = :tab::text and status <> 'canceled'))
      and (:one_status::text is null or status = :one_status::text)  -- one alone is looked up in order
      and (:status::text[] is null or status = any (:status::text[]))
      and (:livemode::boolean is null or livemode = :livemode::boolean)
      and (:google_review_submitted::boolean is null or google_review_submitted = :google_review_submitted::boolean)
      and (:referral_source::text is null or referral_source = :referral_source::text)
      and (:fulfillment_type::text is null or fulfillment_type = :fulfillment_type::text)
      and (:renewal_missed::boolean is null or (renewal_missed_at is not null) = :renewal_missed::boolean)
      and (:started_since::timestamptz is null or started_at >= :started_since::timestamptz)
      and (:started_before::timestamptz is null or started_at < :started_before::timestamptz)
      and (:paid_since::timestamptz is null or last_payment_at >= :paid_since::timestamptz)
      and (:paid_before::timestamptz is null or last_payment_at < :paid_before::timestamptz)
      and (:text::text is null or id = any (array(select membership_id from memberships_with_words(:text::text))))
      and (:after_at::text is null
           or (coalesce(started_at, '-infinity'), id) < (:after_at::text::timestamptz, :after_id::bigint))
    order by coalesce(started_at, '-infinity') desc, id desc
    limit :most::integer
), noted as (
    insert into health_data_reads (merchant, reader, kind, filters, row_ids, row_count)
    select :merchant::text, :reader::text, :kind::text, :asked::jsonb, coalesce(array_agg(id), '{}'), count(*)
    from (select id from found order by coalesce(started_at, '-infinity') desc, id desc limit :shown::integer) as seen
)
select * from found order by coalesce(started_at, '-infinity') desc, id desc;

-- name: list_by_payment
-- Memberships by their last payment, the newest first, with any of the filters.
with found as (
    select id, merchant, gateway, account, customer_ref, livemode, category, name, email, product_name, status,
           status_by_rule, status_by_hand, status_reason, status_set_by, status_set_at, started_at, last_payment_at,
           next_expected_at, renews_every, renewal_missed_at, amount_minor, currency, payment_count,
           google_review_submitted, referral_source, fulfillment_type, version, created_at, updated_at
    from memberships
    where merchant = :merchant::text
      and (:tab::text is null or (category = :tab::text and status <> 'canceled'))
      and (:one_status::text is null or status = :one_status::text)  -- one alone is looked up in order
      and (:status::text[] is null or status = any (:status::text[]))
      and (:livemode::boolean is null or livemode = :livemode::boolean)
      and (:google_review_submitted::boolean is null or google_review_submitted = :google_review_submitted::boolean)
      and (:referral_source::text is null or referral_source = :referral_source::text)
      and (:fulfillment_type::text is null or fulfillment_type = :fulfillment_type::text)
      and (:renewal_missed::boolean is null or (renewal_missed_at is not null) = :renewal_missed::boolean)
      and (:started_since::timestamptz is null or started_at >= :started_since::timestamptz)
      and (:started_before::timestamptz is null or started_at < :started_before::timestamptz)
      and (:paid_since::timestamptz is null or last_payment_at >= :paid_since::timestamptz)
      and (:paid_before::timestamptz is null or last_payment_at < :paid_before::timestamptz)
      and (:text::text is null or id = any (array(select membership_id from memberships_with_words(:text::text))))
      and (:after_at::text is null
           or (coalesce(last_payment_at, '-infinity'), id) < (:after_at::text::timestamptz, :after_id::bigint))
    order by coalesce(last_payment_at, '-infinity') desc, id desc
    limit :most::integer
), noted as (
    insert into health_data_reads (merchant, reader, kind, filters, row_ids, row_count)
    select :merchant::text, :reader::text, :kind::text, :asked::jsonb, coalesce(array_agg(id), '{}'), count(*)
    from (select id from found order by coalesce(last_payment_at, '-infinity') desc, id desc limit :shown::integer) as seen
)
select * from found order by coalesce(last_payment_at, '-infinity') desc, id desc;

-- name: list_by_expected
-- Memberships by the next payment that is expected, the soonest first, with any of the filters.
with found as (
    select id, merchant, gateway, account, customer_ref, livemode, category, name, email, product_name, status,
           status_by_rule, status_by_hand, status_reason, status_set_by, status_set_at, started_at, last_payment_at,
           next_expected_at, renews_every, renewal_missed_at, amount_minor, currency, payment_count,
           google_review_submitted, referral_source, fulfillment_type, version, created_at, updated_at
    from memberships
    where merchant = :merchant::text
      and (:tab::text is null or (category = :tab::text and status <> 'canceled'))
      and (:one_status::text is null or status = :one_status::text)  -- one alone is looked up in order
      and (:status::text[] is null or status = any (:status::text[]))
      and (:livemode::boolean is null or livemode = :livemode::boolean)
      and (:google_review_submitted::boolean is null or google_review_submitted = :google_review_submitted::boolean)
      and (:referral_source::text is null or referral_source = :referral_source::text)
      and (:fulfillment_type::text is null or fulfillment_type = :fulfillment_type::text)
      and (:renewal_missed::boolean is null or (renewal_missed_at is not null) = :renewal_missed::boolean)
      and (:started_since::timestamptz is null or started_at >= :started_since::timestamptz)
      and (:started_before::timestamptz is null or started_at < :started_before::timestamptz)
      and (:paid_since::timestamptz is null or last_payment_at >= :paid_since::timestamptz)
      and (:paid_before::timestamptz is null or last_payment_at < :paid_before::timestamptz)
      and (:text::text is null or id = any (array(select membership_id from memberships_with_words(:text::text))))
      and (:after_at::text is null
           or (coalesce(next_expected_at, 'infinity'), id) > (:after_at::text::timestamptz, :after_id::bigint))
    order by coalesce(next_expected_at, 'infinity'), id
    limit :most::integer
), noted as (
    insert into health_data_reads (merchant, reader, kind, filters, row_ids, row_count)
    select :merchant::text, :reader::text, :kind::text, :asked::jsonb, coalesce(array_agg(id), '{}'), count(*)
    from (select id from found order by coalesce(next_expected_at, 'infinity'), id limit :shown::integer) as seen
)
select * from found order by coalesce(next_expected_at, 'infinity'), id;

-- name: count_tabs
-- How many memberships each category has, by status. It names no patient, so nothing is noted.
select category, status, sum(memberships)::integer as memberships, sum(missed)::integer as missed
from membership_counts
where merchant = :merchant::text and (:livemode::boolean is null or livemode = :livemode::boolean)
group by category, status
having sum(memberships) > 0
order by category, status;

-- name: find_membership
-- One membership.
with found as (
    select id, merchant, gateway, account, customer_ref, livemode, category, name, email, product_name, status,
           status_by_rule, status_by_hand, status_reason, status_set_by, status_set_at, started_at, last_payment_at,
           next_expected_at, renews_every, renewal_missed_at, amount_minor, currency, payment_count,
           google_review_submitted, referral_source, fulfillment_type, version, created_at, updated_at
    from memberships where merchant = :merchant::text and id = :id::bigint
), noted as (
    insert into health_data_reads (merchant, reader, kind, row_ids, row_count)
    select :merchant::text, :reader::text, :kind::text, array[id], 1 from found
)
select * from found;

-- name: memberships_of_patient
-- All memberships of the patient that one membership is of.
select m.id, m.merchant, m.gateway, m.account, m.customer_ref, m.livemode, m.category, m.name, m.email, m.product_name,
       m.status, m.status_by_rule, m.status_by_hand, m.status_reason, m.status_set_by, m.status_set_at, m.started_at,
       m.last_payment_at, m.next_expected_at, m.renews_every, m.renewal_missed_at, m.amount_minor, m.currency,
       m.payment_count, m.google_review_submitted, m.referral_source, m.fulfillment_type, m.version, m.created_at,
       m.updated_at
from memberships one
join memberships m on m.merchant = one.merchant and m.gateway = one.gateway and m.account = one.account
    and m.customer_ref = one.customer_ref
where one.merchant = :merchant::text and one.id = :id::bigint
order by m.category, m.livemode desc;

-- name: payments_of_patient
-- The newest payments of the patient that one membership is of, whatever they were for.
select p.id, p.status, p.amount_minor, p.surcharge_minor, p.refunded_minor, p.currency, p.source, p.is_recurring,
       p.product_name, p.product_category, p.invoice_ref, p.subscription_ref, p.failure_message, p.first_fact_at,
       p.completed_at
from memberships one
join payments p on p.merchant = one.merchant and p.customer_ref = one.customer_ref and p.gateway = one.gateway
    and p.account = one.account and p.merged_into is null
where one.merchant = :merchant::text and one.id = :id::bigint
order by p.first_fact_at desc, p.id desc
limit :most::integer;

-- name: invoices_of_patient
-- The newest invoices of that patient: those that the payments name, and those that name the patient.
select i.id, i.gateway_id, i.number, i.status, i.total_minor, i.paid_minor, i.due_minor, i.currency, i.issued_at, i.due_at,
       i.paid_at, i.lines, i.first_fact_at
from invoices i
where i.id in (
    select named.id
    from memberships one
    join payments p on p.merchant = one.merchant and p.customer_ref = one.customer_ref and p.gateway = one.gateway
        and p.account = one.account and p.merged_into is null
    join invoices named on named.gateway = p.gateway and named.account = p.account and named.gateway_id = p.invoice_ref
    where one.merchant = :merchant::text and one.id = :id::bigint and named.merchant = one.merchant
    union
    select own.id
    from memberships one
    join invoices own on own.gateway = one.gateway and own.account = one.account and own.customer_ref = one.customer_ref
    where one.merchant = :merchant::text and one.id = :id::bigint and own.merchant = one.merchant
)
order by i.first_fact_at desc, i.id desc
limit :most::integer;

-- name: history_of_patient
-- How the memberships of that patient came to be as they are, the newest change first; personal values only as hashes.
select a.id, a.at, a.table_name, a.row_id, a.action, a.actor, a.webhook_event_id, a.changes
from memberships one
join memberships m on m.merchant = one.merchant and m.gateway = one.gateway and m.account = one.account
    and m.customer_ref = one.customer_ref
join payment_audit_log a on a.table_name = 'memberships' and a.row_id = m.id
where one.merchant = :merchant::text and one.id = :id::bigint and a.merchant = one.merchant
order by a.id desc
limit :most::integer;

-- name: change_membership
-- Writes what a person says of a membership.
select change_membership(:id::bigint, :changes::jsonb, :expected_version::integer, :reason::text);

-- name: note_missed_renewals
-- Notes renewals that were expected and did not come; how many.
select note_missed_renewals(:grace_days::integer, :most::integer) as noted;

-- name: drop_old_reads
-- Drops notes of reads that are older than some days; how many.
select drop_old_health_reads(:days::integer, :most::integer) as dropped;

-- name: reads_health_data
-- Says whether a key may see health data; where it may and rows are named, notes that it does.
select reads_health_data(:key_id::text, :kind::text, :ids::bigint[]) as is_allowed;

-- name: list_reads
-- Who read what, the newest first; of one membership, all reads that showed it.
select id, at, reader, kind, filters, row_ids, row_count
from health_data_reads
where merchant = :merchant::text
  and (:membership::bigint is null
       or (kind in ('memberships', 'membership', 'patient', 'export') and :membership::bigint = any (row_ids)))
  and (:after_id::bigint is null or id < :after_id::bigint)
order by id desc
limit :most::integer;
