-- name: payment_of_event
-- The event and the payment that it speaks of, with all that is known of it now.
SELECT e.status AS event_status,
       p.id AS payment_id,
       p.status AS payment_status,
       p.amount_minor,
       p.currency,
       p.fee_minor,
       p.fee_currency
FROM webhook_events e
LEFT JOIN payment_objects o
       ON (o.gateway, o.account, o.object_id) = (e.gateway, e.account, e.reference)
LEFT JOIN payments p ON p.id = o.payment_id
WHERE e.gateway = :gateway
  AND e.event_id = :event_id
ORDER BY p.id
LIMIT 1
