-- Events, page views, sessions, users and visitors per UTC hour, from the hourly view.
-- An hour belongs to the period when it starts inside it. Source: view events_hourly_mv.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    toInt64(toUnixTimestamp(hour)) * 1000 AS hour_ms,
    sum(event_count) AS events,
    sumIf(event_count, event_type = 'page_view') AS page_views,
    uniqMerge(session_count) AS sessions,
    uniqMerge(user_count) AS users,
    uniqMerge(visitor_count) AS visitors
FROM events_hourly_mv
WHERE project_id = {project_id:String}
  AND hour >= period_start AND hour < period_end
GROUP BY hour
ORDER BY hour
