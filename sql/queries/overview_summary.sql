-- How much happened in a project in a period: one row.
-- `users` are identified people, `visitors` anonymous ids; start inclusive, end exclusive.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    count() AS events,
    uniqExact(session_id) AS sessions,
    uniqExactIf(user_id, user_id != '') AS users,
    uniqExactIf(anonymous_id, anonymous_id != '') AS visitors,
    countIf(event_type = 'page_view') AS page_views
FROM events FINAL
WHERE project_id = {project_id:String}
  AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
  AND timestamp >= period_start AND timestamp < period_end
