-- The summary per day of a time zone, oldest first; days without events have no row.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    toDate(timestamp, {timezone:String}) AS day,
    count() AS events,
    uniqExact(session_id) AS sessions,
    uniqExactIf(user_id, user_id != '') AS users,
    uniqExactIf(anonymous_id, anonymous_id != '') AS visitors,
    countIf(event_type = 'page_view') AS page_views
FROM events FINAL
WHERE project_id = {project_id:String}
  AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
  AND timestamp >= period_start AND timestamp < period_end
GROUP BY day
ORDER BY day
