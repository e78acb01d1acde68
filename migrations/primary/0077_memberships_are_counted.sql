-- Counts the memberships that are there already; apart from the triggers, so that no recording waits while it counts.
-- migrate: up

select repair_membership_counts(id) from merchants;

-- migrate: down

-- Nothing to undo: the counts go with their table.
