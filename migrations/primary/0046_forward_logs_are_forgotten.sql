-- What was told to apps long ago is forgotten by `gatehouse retention`.
-- migrate: up

grant delete on webhook_forward_logs, redrives to gatehouse_ops;

-- migrate: down

revoke delete on webhook_forward_logs, redrives from gatehouse_ops;
