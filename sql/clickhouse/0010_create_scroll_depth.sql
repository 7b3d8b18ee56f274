-- why: how many of the sessions that saw a page reached which part of it.
-- blocking: no

-- Sessions, not events: a session that leaves a page twice counts once, and one whose page_exit never
-- arrived counts by its scroll events.
CREATE TABLE IF NOT EXISTS scroll_depth (
    project_id      String,
    path            String,
    date            Date,
    device_type     LowCardinality(String),
    reached_25      AggregateFunction(uniq, UUID),
    reached_50      AggregateFunction(uniq, UUID),
    reached_75      AggregateFunction(uniq, UUID),
    reached_90      AggregateFunction(uniq, UUID),
    reached_100     AggregateFunction(uniq, UUID),
    total_sessions  AggregateFunction(uniq, UUID)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(date)
ORDER BY (project_id, path, date, device_type)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS scroll_depth_mv TO scroll_depth AS
SELECT
    project_id,
    path,
    toDate(timestamp) AS date,
    device_type,
    uniqStateIf(session_id, ifNull(scroll_depth, 0) >= 25) AS reached_25,
    uniqStateIf(session_id, ifNull(scroll_depth, 0) >= 50) AS reached_50,
    uniqStateIf(session_id, ifNull(scroll_depth, 0) >= 75) AS reached_75,
    uniqStateIf(session_id, ifNull(scroll_depth, 0) >= 90) AS reached_90,
    uniqStateIf(session_id, ifNull(scroll_depth, 0) >= 100) AS reached_100,
    uniqState(session_id) AS total_sessions
FROM events
WHERE event_type IN ('page_view', 'page_exit', 'scroll', 'scroll_milestone')
GROUP BY project_id, path, date, device_type;
