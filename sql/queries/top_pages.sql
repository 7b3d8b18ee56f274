-- The most viewed pages of a period: views, from how many sessions and visitors, and how long a view
-- lasted on average; null where no exit told.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    path,
    countIf(event_type = 'page_view') AS page_views,
    uniqExactIf(session_id, event_type = 'page_view') AS sessions,
    uniqExactIf(anonymous_id, event_type = 'page_view' AND anonymous_id != '') AS visitors,
    avgIf(time_on_page_ms, event_type = 'page_exit' AND time_on_page_ms > 0) / 1000 AS avg_seconds
FROM events FINAL
WHERE project_id = {project_id:String}
  AND event_type IN ('page_view', 'page_exit')
  AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
  AND timestamp >= period_start AND timestamp < period_end
GROUP BY path
HAVING page_views > 0
ORDER BY page_views DESC, path
LIMIT {limit:UInt32}
