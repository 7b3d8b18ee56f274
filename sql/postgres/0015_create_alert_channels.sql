-- why: channels that fail again and again are switched off until somebody looks at them.
-- blocking: no

CREATE TABLE alert_channels (
    rule_id        uuid NOT NULL REFERENCES alert_rules (id) ON DELETE CASCADE,
    channel_key    text NOT NULL,
    -- In a row, and since when.
    failures       integer NOT NULL DEFAULT 0,
    failing_since  timestamptz,
    -- Saving the rule later than this switches it on again.
    disabled_at    timestamptz,
    last_error     text,
    PRIMARY KEY (rule_id, channel_key)
);
