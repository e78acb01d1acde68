-- What is known of a person: shown, and erased.

-- name: export_customer
-- Everything that is known of a person.
select export_customer(:email::text) as known;

-- name: memberships_of_person
-- The memberships of a person.
select memberships_of_person(:email::text) as known;

-- name: erase_gateway_answers
-- Deletes what the gateways' APIs answered about a person; how many answers.
select erase_gateway_answers(:email::text) as erased;

-- name: payloads_of_events
-- What the gateways sent, sealed, of some events.
select webhook_event_id, key_id, sealed from webhook_payloads where webhook_event_id = any (:rows::bigint[]);

-- name: erase_customer
-- Erases a person; how many rows of each table were changed.
select erase_customer(:email::text) as done;

-- name: customers_past_retention
-- Customers of all merchants whose personal data may go by now.
select merchant, customer_id, email from customers_past_retention(:day::date);

-- name: erase_one_past_retention
-- Erases one of them; nulls where there is none.
select merchant, customer_id from erase_one_past_retention();
