-- The countries that most sessions of a period came from; empty when not known.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    country, country_code,
    uniqExact(session_id) AS sessions,
    uniqExactIf(anonymous_id, anonymous_id != '') AS visitors,
    countIf(event_type = 'page_view') AS page_views
FROM events FINAL
WHERE project_id = {project_id:String}
  AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
  AND timestamp >= period_start AND timestamp < period_end
GROUP BY country, country_code
ORDER BY sessions DESC, country, country_code
LIMIT {limit:UInt32}
