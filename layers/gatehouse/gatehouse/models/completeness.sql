-- How complete each day of each account is, as reconciliation found it.

-- name: list_completeness
-- The days of one merchant or of all, the newest first, from a place on; with `only_missing` those that lack something.
select merchant, gateway, account, day, listed, recorded, found_missing, checks, checked_at
from completeness
where (:merchant::text is null or merchant = :merchant::text)
  and (:gateway::text is null or gateway = :gateway::text)
  and (:account::text is null or account = :account::text)
  and (:since::date is null or day >= :since::date)
  and (not :only_missing::boolean or recorded < listed)
  and (:after_day::date is null or (day, gateway, account) < (:after_day::date, :after_gateway::text, :after_account::text))
order by day desc, gateway desc, account desc
limit :most::integer;
