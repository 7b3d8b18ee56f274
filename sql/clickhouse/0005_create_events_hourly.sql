-- why: events, sessions and users per hour, type and path, without reading the raw rows.
-- blocking: no

-- Distinct counts are states: adding up the distinct counts of two inserts counts a session twice.
CREATE TABLE IF NOT EXISTS events_hourly (
    project_id     String,
    hour           DateTime('UTC'),
    event_type     LowCardinality(String),
    path           String,
    event_count    SimpleAggregateFunction(sum, UInt64),
    session_count  AggregateFunction(uniq, UUID),
    user_count     AggregateFunction(uniq, String), -- Identified users.
    visitor_count  AggregateFunction(uniq, String) -- Anonymous ids.
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (project_id, hour, event_type, path)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS events_hourly_mv TO events_hourly AS
SELECT
    project_id,
    toStartOfHour(timestamp) AS hour,
    event_type,
    path,
    count() AS event_count,
    uniqState(session_id) AS session_count,
    uniqStateIf(user_id, user_id != '') AS user_count,
    uniqStateIf(anonymous_id, anonymous_id != '') AS visitor_count
FROM events
GROUP BY project_id, hour, event_type, path;
