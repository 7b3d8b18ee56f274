-- why: a firing that was kept back, or a rule that was held, is told apart from one that was sent.
-- blocking: no

ALTER TABLE alert_history
    -- All rows of one alert share it: its firing, and each time that it was told again.
    ADD COLUMN alert_id       uuid,
    ADD COLUMN kind           text NOT NULL DEFAULT 'fired'
        CHECK (kind IN ('fired', 'still_firing', 'suppressed', 'held')),
    -- Of a suppressed row: cooldown or mute.
    ADD COLUMN suppressed_by  text NOT NULL DEFAULT '' CHECK (suppressed_by IN ('', 'cooldown', 'mute')),
    -- The group as JSON with sorted keys; a cooldown is of one rule and group.
    ADD COLUMN scope          text NOT NULL DEFAULT '{}',
    ADD COLUMN severity       text NOT NULL DEFAULT '',
    ADD COLUMN is_late        boolean NOT NULL DEFAULT false;

CREATE INDEX alert_history_alert_id_idx ON alert_history (alert_id);
