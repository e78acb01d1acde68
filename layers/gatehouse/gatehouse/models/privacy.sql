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

-- name: erase_customer
-- Erases a person; how many rows of each table were changed.
select erase_customer(:email::text) as done;

-- name: customers_past_retention
-- Customers of all merchants whose personal data may go by now.
select merchant, customer_id, email from customers_past_retention(:day::date);
