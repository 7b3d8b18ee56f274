-- why: how long visitors stay on a page.
-- blocking: no

-- Quantiles, in this order: 0.5, 0.75, 0.95.
CREATE TABLE IF NOT EXISTS page_time (
    project_id              String,
    path                    String,
    date                    Date,
    view_count              SimpleAggregateFunction(sum, UInt64), -- page_exit events with a time
    avg_time_on_page        AggregateFunction(avg, UInt32),
    min_time_on_page        SimpleAggregateFunction(min, UInt32),
    max_time_on_page        SimpleAggregateFunction(max, UInt32),
    total_time_on_page      SimpleAggregateFunction(sum, UInt64),
    quantiles_time_on_page  AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(date)
ORDER BY (project_id, path, date)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS page_time_mv TO page_time AS
SELECT
    project_id,
    path,
    toDate(timestamp) AS date,
    count() AS view_count,
    avgState(assumeNotNull(time_on_page_ms)) AS avg_time_on_page,
    min(assumeNotNull(time_on_page_ms)) AS min_time_on_page,
    max(assumeNotNull(time_on_page_ms)) AS max_time_on_page,
    sum(assumeNotNull(time_on_page_ms)) AS total_time_on_page,
    quantilesTDigestState(0.5, 0.75, 0.95)(assumeNotNull(time_on_page_ms)) AS quantiles_time_on_page
FROM events
WHERE event_type = 'page_exit' AND time_on_page_ms > 0
GROUP BY project_id, path, date;
