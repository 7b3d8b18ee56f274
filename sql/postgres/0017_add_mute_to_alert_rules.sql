-- why: a person who works on it wants no more messages of it for a while.
-- blocking: no

ALTER TABLE alert_rules
    ADD COLUMN muted_until  timestamptz,
    ADD COLUMN runbook_url  varchar(2048);
