-- why: what was last heard of each rule and group, and how long it is to be quiet.
-- blocking: no

CREATE TABLE alert_states (
    rule_id         uuid NOT NULL REFERENCES alert_rules (id) ON DELETE CASCADE,
    scope           text NOT NULL,
    -- The last transition: an older one, or the same again, changes nothing.
    last_at         timestamptz NOT NULL,
    last_kind       text NOT NULL,
    alert_id        uuid NOT NULL,
    -- Its newest row in the history, and when the message of that was decided.
    row_id          uuid,
    row_kind        text NOT NULL DEFAULT '',
    told_at         timestamptz,
    -- Begins when the first message of a history row has arrived: cooldown_row.
    cooldown_until  timestamptz,
    cooldown_row    uuid,
    PRIMARY KEY (rule_id, scope)
);
