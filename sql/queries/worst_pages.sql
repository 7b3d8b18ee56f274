-- Pages by the mean score of the closed sessions that saw them, the worst first.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    path,
    count() AS sessions,
    round(avg(experience_score), 2) AS score
FROM (
    SELECT DISTINCT path, session_id
    FROM events
    WHERE project_id = {project_id:String}
      AND event_type = 'page_view'
      AND event_date BETWEEN toDate(period_start) AND toDate(period_end) + 1
) AS seen
INNER JOIN (
    SELECT session_id, experience_score
    FROM sessions FINAL
    WHERE project_id = {project_id:String}
      AND started_at >= period_start AND started_at < period_end
      AND is_closed AND experience_score IS NOT NULL
) AS judged USING (session_id)
GROUP BY path
ORDER BY score, sessions DESC, path
LIMIT {limit:UInt32}
SETTINGS do_not_merge_across_partitions_select_final = 1
