-- why: sessions are kept in the order of their ids, so a list of a day's sessions read all of them.
-- blocking: yes

-- What lists and figures of a period need of each revision of a session, in the order of starts. A
-- start that a late event moves leaves its old row behind; it always moves back while the end stays or
-- moves on, so whoever reads a period also reads what began before it and reaches into it, and takes
-- the last revision of each. The index on the end keeps that to a few granules.
CREATE TABLE IF NOT EXISTS session_starts (
    project_id       String,
    started_at       DateTime64(3, 'UTC'),
    session_id       UUID,
    ended_at         DateTime64(3, 'UTC'),
    user_id          String,
    anonymous_id     String,
    duration_ms      UInt64,
    entry_url        String,
    exit_url         String,
    page_count       UInt32,
    event_count      UInt32,
    has_error        Bool,
    has_rage_click   Bool,
    has_dead_click   Bool,
    has_replay       Bool,
    is_bounce        Bool,
    is_closed        Bool,
    converted        Bool,
    experience_score Nullable(Int32),
    browser          LowCardinality(String),
    os               LowCardinality(String),
    device_type      LowCardinality(String),
    country          LowCardinality(String),
    country_code     LowCardinality(String),
    city             LowCardinality(String),
    utm_source       LowCardinality(String),
    revision         UInt64,
    retain_days      UInt32,
    ingested_at      DateTime64(3, 'UTC'),

    INDEX ended_at_minmax ended_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(started_at)
ORDER BY (project_id, started_at, session_id)
TTL toDate(started_at) + toIntervalDay(least(if(retain_days = 0, 365, retain_days), 730))
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024
-- Sessions that are there already, while nothing writes. If it is broken off, drop the table before the
-- next try.
AS SELECT
    project_id, started_at, session_id, ended_at, user_id, anonymous_id, duration_ms, entry_url,
    exit_url, page_count, event_count, has_error, has_rage_click, has_dead_click, has_replay,
    is_bounce, is_closed, converted, experience_score, browser, os, device_type, country,
    country_code, city, utm_source, revision, retain_days, ingested_at
FROM sessions FINAL;

CREATE MATERIALIZED VIEW IF NOT EXISTS session_starts_mv TO session_starts AS
SELECT
    project_id, started_at, session_id, ended_at, user_id, anonymous_id, duration_ms, entry_url,
    exit_url, page_count, event_count, has_error, has_rage_click, has_dead_click, has_replay,
    is_bounce, is_closed, converted, experience_score, browser, os, device_type, country,
    country_code, city, utm_source, revision, retain_days, ingested_at
FROM sessions;
