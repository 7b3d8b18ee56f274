-- why: which elements of a page are clicked how often.
-- blocking: no

CREATE TABLE IF NOT EXISTS element_clicks (
    project_id       String,
    path             String,
    date             Date,
    target_selector  String,
    target_tag       LowCardinality(String),
    target_text      String,
    click_count      UInt64
)
ENGINE = SummingMergeTree(click_count)
PARTITION BY toYYYYMM(date)
ORDER BY (project_id, path, date, target_selector, target_tag, target_text)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS element_clicks_mv TO element_clicks AS
SELECT
    project_id,
    path,
    toDate(timestamp) AS date,
    target_selector,
    target_tag,
    target_text,
    count() AS click_count
FROM events
WHERE event_type = 'click' AND target_selector != ''
GROUP BY project_id, path, date, target_selector, target_tag, target_text;
