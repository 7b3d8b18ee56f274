-- why: clicks per 10 px cell of a page, for heat maps without session replay.
-- blocking: no

-- Every column but the count is in the sort key: what is not would be merged away.
-- The viewport is a class, not a width: exact widths make thousands of groups of one click.
CREATE TABLE IF NOT EXISTS click_heatmap (
    project_id       String,
    path             String,
    date             Date,
    viewport_class   LowCardinality(String), -- unknown, narrow (to 480 px), medium (to 1024), wide
    device_type      LowCardinality(String),
    grid_x           Int32, -- Cell numbers; the cell's left top corner is 10 times that.
    grid_y           Int32,
    target_selector  String,
    target_tag       LowCardinality(String),
    click_count      UInt64
)
ENGINE = SummingMergeTree(click_count)
PARTITION BY toYYYYMM(date)
ORDER BY (
    project_id, path, date, viewport_class, device_type, grid_x, grid_y, target_selector, target_tag
)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS click_heatmap_mv TO click_heatmap AS
SELECT
    project_id,
    path,
    toDate(timestamp) AS date,
    multiIf(
        viewport_width = 0, 'unknown',
        viewport_width <= 480, 'narrow',
        viewport_width <= 1024, 'medium',
        'wide'
    ) AS viewport_class,
    device_type,
    toInt32(floor(assumeNotNull(click_x) / 10)) AS grid_x,
    toInt32(floor(assumeNotNull(click_y) / 10)) AS grid_y,
    target_selector,
    target_tag,
    count() AS click_count
FROM events
WHERE event_type = 'click' AND click_x IS NOT NULL AND click_y IS NOT NULL
GROUP BY
    project_id, path, date, viewport_class, device_type, grid_x, grid_y, target_selector, target_tag;
