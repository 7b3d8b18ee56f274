-- why: whoever looks after a project wants to see which of its keys are used at all.
-- blocking: no

ALTER TABLE api_keys ADD COLUMN request_count bigint NOT NULL DEFAULT 0;
