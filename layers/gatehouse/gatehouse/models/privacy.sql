-- What is known of a person: shown, and erased.

-- name: export_customer
-- Everything that is known of a person.
select export_customer(:email::text) as known;

-- name: memberships_of_person
-- The memberships of a person.
select memberships_of_person(:email::text) as known;

-- name: payloads_of_events
-- What the gateways sent, sealed, of some events.
select webhook_event_id, key_id, sealed from webhook_payloads where webhook_event_id = any (:rows::bigint[]);

-- name: payloads_of_no_facts
-- What the gateways sent, sealed, of the next events that failed or were ignored.
select e.id, e.gateway, e.account, e.event_id, e.type, e.received_at, p.key_id, p.sealed
from webhook_events e
join webhook_payloads p on p.webhook_event_id = e.id and p.received_at = e.received_at
where e.merchant = :merchant::text and e.status <> 'applied' and e.id > :after_id::bigint
order by e.id
limit :most::integer;

-- name: erase_payloads
-- Deletes the sealed bytes of some events.
select erase_payloads(:rows::bigint[]) as gone;

-- name: erase_customer
-- Erases a person; how many rows of each table were changed.
select erase_customer(:email::text) as done;

-- name: places_of_customer
-- The gateways and accounts at which the merchant has a customer of this name.
select gateway, account from places_of_customer(:ref::text) order by gateway, account;

-- name: export_named_customer
-- Everything that is known of a gateway's customer; a row for each address that is known of them.
select known from export_named_customer(:gateway::text, :account::text, :ref::text) as known;

-- name: erase_named_customer
-- Erases a gateway's customer; how many rows of each table were changed.
select erase_named_customer(:gateway::text, :account::text, :ref::text) as done;

-- name: customers_past_retention
-- Customers of all merchants whose personal data may go by now.
select merchant, customer_id, email from customers_past_retention(:day::date);

-- name: erase_one_past_retention
-- Erases one of them; nulls where there is none.
select merchant, customer_id from erase_one_past_retention();
