-- Who changed merchants, accounts, keys and apps, and who let what be done again. It can be read, and nothing else.

-- name: act
-- Says who does what follows in this flush, and what he calls it where the rows alone do not tell.
select set_config('gatehouse.actor', :actor::text, true) as actor, set_config('gatehouse.deed', :deed::text, true) as deed;

-- name: note_deed
-- Notes something that was done and changed no row of its own kind.
select set_config('gatehouse.actor', :actor::text, true) as actor,
    set_config('gatehouse.merchant', coalesce(:merchant::text, ''), true) as merchant,
    note_deed(:what::text, :subject::text, :details::jsonb) as noted;

-- name: list_changes
-- Changes, the newest first: of one merchant or all, by somebody or anybody.
select id, at, actor, merchant, what, subject, details
from admin_changes
where (:merchant::text is null or merchant = :merchant::text)
  and (:before::bigint is null or id < :before::bigint)
order by id desc
limit :most::integer;

-- name: drop_old_changes
-- Drops what is older than some days, some rows at a time.
select drop_old_admin_changes(:days::integer, :most::integer) as dropped;
