-- Refunds: what gateways say of them, and those that we ask for.

-- name: refunds_of_order
-- The refunds of an order's payments, oldest first.
select r.id, r.merchant, r.gateway, r.account, r.livemode, r.gateway_id, r.payment_id, r.status, r.amount_minor,
       r.currency, r.fee_minor, r.reason, r.failure_code, r.failure_message, r.reference, r.refunded_at, r.metadata,
       r.first_fact_at, r.last_fact_at
from payments p
join refunds r on r.payment_id = p.id
where p.merchant = :merchant::text and p.order_id = :order_id::bigint and p.merged_into is null
order by r.first_fact_at, r.id;

-- name: refunds_of_payment
-- The refunds of a payment, oldest first.
select r.id, r.merchant, r.gateway, r.account, r.livemode, r.gateway_id, r.payment_id, r.status, r.amount_minor,
       r.currency, r.fee_minor, r.reason, r.failure_code, r.failure_message, r.reference, r.refunded_at, r.metadata,
       r.first_fact_at, r.last_fact_at
from refunds r
where r.merchant = :merchant::text and r.payment_id = :payment_id::bigint
order by r.first_fact_at, r.id;

-- name: refund_by_id
-- One refund.
select r.id, r.merchant, r.gateway, r.account, r.livemode, r.gateway_id, r.payment_id, r.status, r.amount_minor,
       r.currency, r.fee_minor, r.reason, r.failure_code, r.failure_message, r.reference, r.refunded_at, r.metadata,
       r.first_fact_at, r.last_fact_at
from refunds r
where r.merchant = :merchant::text and r.id = :refund_id::bigint;

-- name: list_refunds
-- Refunds, newest first, with any of the filters.
select r.id, r.merchant, r.gateway, r.account, r.livemode, r.gateway_id, r.payment_id, r.status, r.amount_minor,
       r.currency, r.fee_minor, r.reason, r.failure_code, r.failure_message, r.reference, r.refunded_at, r.metadata,
       r.first_fact_at, r.last_fact_at
from refunds r
where r.merchant = :merchant::text
  and (:status::text is null or r.status = :status::text)
  and (:after_id::bigint is null or (r.first_fact_at, r.id) < (:after_at::timestamptz, :after_id::bigint))
order by r.first_fact_at desc, r.id desc
limit :most::integer;

-- name: request_refund
-- Asks for a refund; its id is left for the statements that follow.
select request_refund(
    p_payment_id => :payment_id::bigint, p_amount_minor => :amount_minor::bigint, p_reason => :reason::text,
    p_idempotency_key => :idempotency_key::text, p_gateways => :gateways::text[], p_full_only => :full_only::text[]
);

-- name: requested_refund
-- The refund that was asked for in this flush.
select q.id, q.merchant, q.payment_id, n.subject_id as refund_id, q.gateway, q.account, q.amount_minor, q.currency,
       q.reason, q.state, q.failure, r.status as refund_status, r.gateway_id, q.actor, q.job_id,
       j.status as job_status, j.last_error as job_error, q.created_at, q.updated_at
from refund_requests q
join jobs j on j.id = q.job_id
left join subject_names n on n.gateway = q.gateway and n.account = q.account and n.kind = 'gatehouse_refund'
    and n.object_id = q.id::text and n.subject_kind = 'refund'
left join refunds r on r.id = n.subject_id
where q.merchant = :merchant::text and q.id = nullif(current_setting('gatehouse.refund', true), '')::uuid;

-- name: refund_request
-- One refund that we asked for.
select q.id, q.merchant, q.payment_id, n.subject_id as refund_id, q.gateway, q.account, q.amount_minor, q.currency,
       q.reason, q.state, q.failure, r.status as refund_status, r.gateway_id, q.actor, q.job_id,
       j.status as job_status, j.last_error as job_error, q.created_at, q.updated_at
from refund_requests q
join jobs j on j.id = q.job_id
left join subject_names n on n.gateway = q.gateway and n.account = q.account and n.kind = 'gatehouse_refund'
    and n.object_id = q.id::text and n.subject_kind = 'refund'
left join refunds r on r.id = n.subject_id
where q.merchant = :merchant::text and q.id = :request::uuid;

-- name: list_refund_requests
-- Refunds that we asked for, newest first, all or those of one state or payment.
select q.id, q.merchant, q.payment_id, n.subject_id as refund_id, q.gateway, q.account, q.amount_minor, q.currency,
       q.reason, q.state, q.failure, r.status as refund_status, r.gateway_id, q.actor, q.job_id,
       j.status as job_status, j.last_error as job_error, q.created_at, q.updated_at
from refund_requests q
join jobs j on j.id = q.job_id
left join subject_names n on n.gateway = q.gateway and n.account = q.account and n.kind = 'gatehouse_refund'
    and n.object_id = q.id::text and n.subject_kind = 'refund'
left join refunds r on r.id = n.subject_id
where q.merchant = :merchant::text
  and (:state::text is null or q.state = :state::text)
  and (:payment_id::bigint is null or q.payment_id = :payment_id::bigint)
  and (:after_id::uuid is null or (q.created_at, q.id) < (:after_at::timestamptz, :after_id::uuid))
order by q.created_at desc, q.id desc
limit :most::integer;

-- name: note_refund
-- Notes what became of asking the gateway.
select note_refund(:request::uuid, :state::text, :failure::text);

-- name: send_refund_again
-- Lets the job of an unknown refund ask anew.
select send_refund_again(:request::uuid);

-- name: settle_unknown_refund
-- Settles an unknown refund by what a person has seen at the gateway.
select settle_unknown_refund(:request::uuid, :made_as::text);

-- name: refunds_that_we_know_ours
-- The gateway's ids of an account's refunds that belong to requests of ours already, out of some.
select theirs.object_id
from subject_names theirs
join subject_names ours on ours.subject_kind = 'refund' and ours.subject_id = theirs.subject_id
    and ours.kind = 'gatehouse_refund'
where theirs.gateway = :gateway::text and theirs.account = :account::text and theirs.subject_kind = 'refund'
  and theirs.kind <> 'gatehouse_refund' and theirs.object_id = any (:object_ids::text[]);
