-- why: what a process that died was sending goes on at once, not when its lease runs out.
-- blocking: no

ALTER TABLE alert_deliveries
    -- A number that the sending process holds as an advisory lock while it lives.
    ADD COLUMN leased_by integer;
