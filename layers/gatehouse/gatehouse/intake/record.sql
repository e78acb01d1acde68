-- One call, one round trip, one transaction each. What happens inside, and in which order, is in the functions of
-- migrations/primary/0008_record_event.sql and 0012_apply_facts.sql: a server session plans them once, while statements
-- sent from here would be planned anew for every event (behind a transaction pooler nothing can be prepared).

-- name: record_event
-- Records an event with its bytes, facts and jobs, or says that it is there already and since when.
select record_event(
    p_merchant => :merchant, p_gateway => :gateway, p_account => :account, p_event_id => :event_id, p_type => :type,
    p_livemode => :livemode, p_occurred_at => :occurred_at, p_received_at => :received_at, p_status => :status,
    p_reason => :reason, p_reference => :reference, p_signed_by => :signed_by, p_request_id => :request_id,
    p_key_id => :key_id, p_sealed => :sealed, p_facts => :facts, p_needs => :needs, p_account_lock => :account_lock,
    p_name_locks => :name_locks, p_joining => :joining
) as outcome
-- The default of webhook_payloads.content_type reads it; a filter is evaluated before what is selected.
from (values (set_config('gatehouse.content_type', :content_type, true))) as said (content_type)
where said.content_type is not null;

-- name: reapply_event
-- Takes up again an event that failed or was ignored.
select reapply_event(
    p_merchant => :merchant, p_gateway => :gateway, p_account => :account, p_event_id => :event_id,
    p_occurred_at => :occurred_at, p_received_at => :received_at, p_status => :status, p_reason => :reason,
    p_reference => :reference, p_facts => :facts, p_needs => :needs, p_account_lock => :account_lock,
    p_name_locks => :name_locks, p_joining => :joining
) as outcome;

-- name: take_recording_locks
-- Takes the locks under which facts that a job fetched are applied.
select take_recording_locks(
    p_merchant => :merchant, p_account_lock => :account_lock, p_name_locks => :name_locks, p_joining => :joining
) as locked;

-- name: apply_facts
-- Applies facts that a job fetched, under the locks of take_recording_locks.
select apply_facts(
    p_merchant => :merchant, p_gateway => :gateway, p_account => :account, p_facts => :facts, p_said_by => :said_by,
    p_event_row => null, p_job_id => :job_id, p_occurred_at => :occurred_at, p_received_at => now(),
    p_joining => :joining
) as outcome;

-- name: fold_payments
-- Makes payments anew from their facts; returns those whose row was not what their facts say.
select payment_id, payment_status from fold_payments(:payment_ids);

-- name: fold_subjects
-- Makes subjects of one kind anew from their facts; returns those whose row was not what their facts say.
select subject_id, subject_status from fold_subjects(:kind, :subject_ids);
