-- why: a chat that asked for a pause gets it from every process, and after a restart.
-- blocking: no

CREATE TABLE alert_lanes (
    lane        text PRIMARY KEY,
    held_until  timestamptz NOT NULL
);
