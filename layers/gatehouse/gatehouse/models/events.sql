-- Webhook events, as ops look at them.

-- name: list_events
-- Events, newest first, with any of the filters; `before` is the last row of the page before.
select id, gateway, account, event_id, type, livemode, occurred_at, received_at, status, reason, attempts, merchant,
       reference
from webhook_events
where (:status::text is null or status = :status::text)
  and (:gateway::text is null or gateway = :gateway::text)
  and (:type::text is null or type = :type::text)
  and (:reference::text is null or reference = :reference::text)
  and (:since::timestamptz is null or received_at >= :since::timestamptz)
  and (:before::bigint is null or id < :before::bigint)
order by id desc
limit :most::integer;

-- name: list_events_of_merchant
-- The same, of the merchant of the flush: those of each gateway lie together, the newest first, so that neither a small
-- merchant nor a gateway that never sent anything has to be looked for among all events.
select e.id, e.gateway, e.account, e.event_id, e.type, e.livemode, e.occurred_at, e.received_at, e.status, e.reason,
       e.attempts, e.merchant, e.reference
from unnest(:gateways::text[]) as g (gateway)
cross join lateral (
    select * from webhook_events
    where gateway = g.gateway
      and (:status::text is null or status = :status::text)
      and (:type::text is null or type = :type::text)
      and (:reference::text is null or reference = :reference::text)
      and (:since::timestamptz is null or received_at >= :since::timestamptz)
      and (:before::bigint is null or id < :before::bigint)
    order by id desc
    limit :most::integer
) as e
order by e.id desc
limit :most::integer;

-- name: events_after
-- Events that came after a row, oldest first: what a live view asks for again and again.
select id, gateway, account, event_id, type, livemode, occurred_at, received_at, status, reason, attempts, merchant,
       reference
from webhook_events
where id > :after::bigint
order by id
limit :most::integer;

-- name: find_events
-- Events by the gateway's id or by our row number; the same id may occur at two gateways.
select id, gateway, account, event_id, type, livemode, occurred_at, received_at, status, reason, attempts, merchant,
       reference
from webhook_events
where event_id = :event_id::text or id = :row::bigint
order by id;

-- name: facts_of_event
-- What an event said, and of which payment.
select kind, subject_id, occurred_at, rank, words from facts where webhook_event_id = :row::bigint order by id;

-- name: changes_of_event
-- What an event changed, from the audit.
select at, table_name, row_id, action, actor, changes
from payment_audit_log
where webhook_event_id = :row::bigint
order by id;

-- name: jobs_of_event
-- The work that an event left.
select id, topic, business_key, status, due_at, attempts, last_error, finished_at
from jobs
where webhook_event_id = :row::bigint
order by id;

-- name: payload_of_event
-- The sealed bytes of an event, while retention keeps them.
select key_id, sealed from webhook_payloads where webhook_event_id = :row::bigint and received_at = :received_at::timestamptz;
