-- How many sessions that saw a page reached which part of it, and how large page and window were:
-- one row. Sizes are the median width and height of the windows, and the largest page.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    count() AS total_sessions,
    countIf(depth >= 25) AS reached_25,
    countIf(depth >= 50) AS reached_50,
    countIf(depth >= 75) AS reached_75,
    countIf(depth >= 90) AS reached_90,
    countIf(depth >= 100) AS reached_100,
    quantileExactIf(0.5)(width, width > 0) AS viewport_width,
    quantileExactIf(0.5)(height, width > 0) AS viewport_height,
    max(page_height) AS page_height
FROM (
    SELECT
        session_id,
        max(ifNull(scroll_depth, 0)) AS depth,
        max(viewport_width) AS width,
        max(viewport_height) AS height,
        maxIf(JSONExtractInt(payload, 'page_height'), event_type = 'scroll') AS page_height
    FROM events FINAL
    WHERE project_id = {project_id:String}
      AND event_type IN ('page_view', 'page_exit', 'scroll', 'scroll_milestone')
      AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
      AND timestamp >= period_start AND timestamp < period_end
      AND path = {path:String}
      AND ({device_type:String} = '' OR device_type = {device_type:String})
      AND viewport_width BETWEEN {width_min:UInt32} AND {width_max:UInt32}
    GROUP BY session_id
)
SETTINGS do_not_merge_across_partitions_select_final = 1
