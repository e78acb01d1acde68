-- What stands in the way of asking a gateway's API for an account.

-- name: find_trouble
-- The trouble of an account, and for how long it is not asked yet.
select kind, reason, credentials_mark, failures,
    greatest(extract(epoch from asked_again_at - now()), 0)::double precision as wait_seconds
from gateway_troubles
where gateway = :gateway::text and account = :account::text;

-- name: take_turn
-- Lets one job ask again, and the others wait for what it learns; none where another has taken the turn.
update gateway_troubles set asked_again_at = now() + make_interval(secs => :seconds::double precision)
where gateway = :gateway::text and account = :account::text
  and (asked_again_at <= now() or credentials_mark <> :credentials_mark::text)
returning gateway;

-- name: note_trouble
-- Notes a trouble, or that it goes on: each time it is asked again later, within bounds; how often it was so in a row.
insert into gateway_troubles as held (
    gateway, account, merchant, kind, reason, credentials_mark, asked_again_at
) values (
    :gateway::text, :account::text, :merchant::text, :kind::text, :reason::text, :credentials_mark::text,
    now() + make_interval(secs => greatest(:first_seconds::double precision, :least_seconds::double precision))
)
on conflict (gateway, account) do update set
    kind = excluded.kind, reason = excluded.reason, credentials_mark = excluded.credentials_mark,
    failures = held.failures + 1,
    began_at = case when held.kind = excluded.kind then held.began_at else now() end,
    asked_again_at = now() + make_interval(secs => greatest(
        least(:first_seconds::double precision * power(2, least(held.failures, 20)), :most_seconds::double precision),
        :least_seconds::double precision))
returning failures, greatest(extract(epoch from asked_again_at - now()), 0)::double precision as wait_seconds;

-- name: end_trouble
-- The account was answered: it is well.
delete from gateway_troubles where gateway = :gateway::text and account = :account::text returning gateway;

-- name: list_troubles
-- The accounts that are not asked at present, or were not answered when last asked.
select gateway, account, merchant, kind, reason, failures, began_at, asked_again_at
from gateway_troubles
where :gateway::text is null or gateway = :gateway::text
order by gateway, account;
