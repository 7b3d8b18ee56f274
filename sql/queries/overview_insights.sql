-- What went wrong in a period: one row. A session is frustrated by a rage, dead or error click, or by
-- a thrashed cursor. Source: api.md, section 6.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    countIf(insight_type = 'rage_click') AS rage_clicks,
    countIf(insight_type = 'dead_click') AS dead_clicks,
    uniqExactIf(
        session_id,
        insight_type IN ('rage_click', 'dead_click', 'error_click', 'thrashed_cursor')
    ) AS frustrated_sessions,
    (
        SELECT uniqExact(session_id)
        FROM events
        WHERE project_id = {project_id:String}
          AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
          AND event_type IN ('js_error', 'unhandled_rejection')
          AND timestamp >= period_start AND timestamp < period_end
    ) AS error_sessions
FROM insights FINAL
WHERE project_id = {project_id:String}
  AND insight_date BETWEEN toDate(period_start) AND toDate(period_end)
  AND timestamp >= period_start AND timestamp < period_end
SETTINGS do_not_merge_across_partitions_select_final = 1
