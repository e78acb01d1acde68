-- Requests that were turned away at the door.

-- name: note_rejected
-- Keeps what a refused request looked like, without its body.
insert into rejected_requests (
    received_at, gateway, account, code, reason, headers, body_bytes, source_ip, request_id
) values (
    :received_at::timestamptz, :gateway::text, :account::text, :code::text, :reason::text, :headers::jsonb,
    :body_bytes::integer, :source_ip::text, :request_id::text
);

-- name: list_rejected
-- Refused requests, newest first.
select id, received_at, gateway, account, code, reason, headers, body_bytes, source_ip, request_id
from rejected_requests
where (:gateway::text is null or gateway = :gateway::text)
  and (:account::text is null or account = :account::text)
order by id desc
limit :most::integer;
