-- The most viewed pages of a period: views, and how many sessions and visitors they came from.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    path,
    count() AS page_views,
    uniqExact(session_id) AS sessions,
    uniqExactIf(anonymous_id, anonymous_id != '') AS visitors
FROM events FINAL
WHERE project_id = {project_id:String}
  AND event_type = 'page_view'
  AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
  AND timestamp >= period_start AND timestamp < period_end
GROUP BY path
ORDER BY page_views DESC, path
LIMIT {limit:UInt32}
