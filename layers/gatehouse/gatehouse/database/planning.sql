-- What the planner may do in one flush.

-- name: plainly
-- Let what follows in the flush be neither compiled nor shared out: it takes milliseconds, whatever the planner thinks.
select set_config('jit', 'off', true) as jit, set_config('max_parallel_workers_per_gather', '0', true) as helpers;
