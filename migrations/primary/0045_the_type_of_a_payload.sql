-- The content type that a gateway gave its bytes is kept beside them: an app is sent the bytes as they came.
-- migrate: up

-- Null for application/json, which is what nearly all say. The recording names another one in `gatehouse.content_type`.
alter table webhook_payloads add column content_type text;
alter table webhook_payloads
    alter column content_type set default nullif(current_setting('gatehouse.content_type', true), '');

-- migrate: down

alter table webhook_payloads drop column content_type;
