-- why: sessions per day, country and device that stay right when sessions are revised, and that
--      outlive the sessions they were counted from.
-- blocking: no

-- A view that fires on insert would count every revision. This one is recomputed: once a minute, for
-- the days of which some session was written within the last day.
-- Read it with FINAL: a recomputed group replaces the older one.
CREATE TABLE IF NOT EXISTS sessions_daily (
    project_id           String,
    day                  Date,
    country              LowCardinality(String),
    device_type          LowCardinality(String),
    session_count        UInt64,
    closed_sessions      UInt64,
    user_count           AggregateFunction(uniq, String),
    visitor_count        AggregateFunction(uniq, String),
    total_duration_ms    UInt64,
    total_pages          UInt64,
    error_sessions       UInt64,
    rage_click_sessions  UInt64,
    dead_click_sessions  UInt64,
    bounce_sessions      UInt64,
    converted_sessions   UInt64,
    refreshed_at         DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(refreshed_at)
PARTITION BY toYYYYMM(day)
ORDER BY (project_id, day, country, device_type)
SETTINGS non_replicated_deduplication_window = 10000;

-- Both ends of a session are touched days: a late earlier event moves the start to the day before, and
-- the day it left must be counted again. The second half of the union brings the groups already
-- stored for these days with nothing in them, so that a group without sessions left becomes 0.
-- The touched days are one value, read once: read twice, a session written in between would empty its
-- day until the next minute.
CREATE MATERIALIZED VIEW IF NOT EXISTS sessions_daily_mv
REFRESH EVERY 1 MINUTE APPEND TO sessions_daily AS
WITH (
    SELECT groupUniqArrayArray([
        (project_id, toDate(started_at)), (project_id, toDate(ended_at))
    ])
    FROM sessions
    WHERE ingested_at >= now64(3) - toIntervalDay(1)
) AS touched
SELECT
    project_id,
    day,
    country,
    device_type,
    countIf(is_session) AS session_count,
    countIf(is_closed) AS closed_sessions,
    uniqStateIf(user_id, user_id != '') AS user_count,
    uniqStateIf(anonymous_id, anonymous_id != '') AS visitor_count,
    sum(duration_ms) AS total_duration_ms,
    sum(page_count) AS total_pages,
    countIf(has_error) AS error_sessions,
    countIf(has_rage_click) AS rage_click_sessions,
    countIf(has_dead_click) AS dead_click_sessions,
    countIf(is_bounce) AS bounce_sessions,
    countIf(converted) AS converted_sessions,
    now64(3, 'UTC') AS refreshed_at
FROM (
    SELECT
        project_id, toDate(started_at) AS day, country, device_type, true AS is_session,
        is_closed, user_id, anonymous_id, duration_ms, page_count,
        has_error, has_rage_click, has_dead_click, is_bounce, converted
    FROM sessions FINAL
    WHERE (project_id, toDate(started_at)) IN (SELECT arrayJoin(touched))
    UNION ALL
    SELECT
        project_id, day, country, device_type, false AS is_session,
        false, '', '', 0, 0,
        false, false, false, false, false
    FROM sessions_daily
    WHERE (project_id, day) IN (SELECT arrayJoin(touched))
)
GROUP BY project_id, day, country, device_type;
