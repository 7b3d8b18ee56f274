-- why: the outbox: messages that were decided, each with what became of it, one row a channel.
-- blocking: no

CREATE TABLE alert_deliveries (
    -- Made of the transition and the channel: the same after a replay, and what receivers see.
    id               uuid PRIMARY KEY,
    sequence         bigint GENERATED ALWAYS AS IDENTITY,
    history_id       uuid NOT NULL REFERENCES alert_history (id) ON DELETE CASCADE,
    alert_id         uuid NOT NULL,
    rule_id          uuid NOT NULL,
    scope            text NOT NULL,
    channel_key      text NOT NULL,
    channel_type     text NOT NULL CHECK (channel_type IN ('telegram', 'webhook')),
    -- Messages of one lane go to one chat or host: so many of them at once and no more.
    lane             text NOT NULL,
    kind             text NOT NULL
        CHECK (kind IN ('fired', 'still_firing', 'resolved', 'channel_disabled')),
    -- As it is sent, without secrets and without what changes by attempt.
    message          jsonb NOT NULL CHECK (jsonb_typeof(message) = 'object'),
    status           text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'sent', 'failed', 'suppressed', 'cancelled')),
    attempts         smallint NOT NULL DEFAULT 0,
    next_attempt_at  timestamptz NOT NULL,
    -- While a process is at it. One that dies leaves it to the others after that.
    leased_until     timestamptz,
    created_at       timestamptz NOT NULL,
    sent_at          timestamptz,
    last_status      smallint,
    last_error       text
);

CREATE INDEX alert_deliveries_pending_idx ON alert_deliveries (next_attempt_at)
    WHERE status = 'pending';
CREATE INDEX alert_deliveries_group_idx ON alert_deliveries (rule_id, scope, channel_key)
    WHERE status = 'pending';
CREATE INDEX alert_deliveries_alert_id_idx ON alert_deliveries (alert_id, channel_key);
CREATE INDEX alert_deliveries_history_id_idx ON alert_deliveries (history_id);
