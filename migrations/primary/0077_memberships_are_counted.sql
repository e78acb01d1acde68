-- Counts the memberships that are there already; apart from the triggers, so that no recording waits while it counts.
-- migrate: up

select repair_membership_counts();

-- migrate: down

-- Nothing to undo: the counts go with their table.
