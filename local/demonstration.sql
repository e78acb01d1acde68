-- name: payment_of_event
-- The event and the payment that it speaks of, with all that is known of it now, and whether a job will tell more.
SELECT e.status AS event_status,
       e.reason,
       EXISTS (
           SELECT FROM jobs j
           WHERE j.webhook_event_id = e.id AND j.topic = 'refetch' AND j.status IN ('waiting', 'leased')
       ) OR EXISTS (
           SELECT FROM jobs j
           JOIN payment_objects n ON j.business_key IN (
               concat_ws('/', n.gateway, n.account, n.object_id), concat_ws('/', n.gateway, n.account, n.kind, n.object_id))
           WHERE n.payment_id = p.id AND j.status IN ('waiting', 'leased')
       ) AS is_worked_on,
       p.id AS payment_id,
       p.status AS payment_status,
       p.amount_minor,
       p.currency,
       p.fee_minor,
       p.fee_currency,
       i.number AS invoice_number,
       i.lines -> 0 ->> 'product' AS product
FROM webhook_events e
LEFT JOIN payment_objects o
       ON (o.gateway, o.account, o.object_id) = (e.gateway, e.account, e.reference)
LEFT JOIN payments p ON p.id = o.payment_id
LEFT JOIN invoices i ON (i.gateway, i.account, i.gateway_id) = (p.gateway, p.account, p.invoice_ref)
WHERE e.gateway = :gateway
  AND e.event_id = :event_id
ORDER BY p.id
LIMIT 1

-- name: count_events
-- How many events of a gateway are recorded.
SELECT count(*) AS events FROM webhook_events WHERE gateway = :gateway

-- name: delivery_of_reference
-- What became of forwarding the event of a reference.
select l.ok, l.error_message, (extract(epoch from l.created_at - e.received_at) * 1000)::integer as milliseconds
from webhook_forward_logs l
join webhook_events e on e.id = l.webhook_event_id
where l.reference = :reference::text
order by l.id desc
limit 1;
