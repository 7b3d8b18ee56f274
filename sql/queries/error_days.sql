-- Occurrences of one error per day of a time zone, oldest first; days without have no row.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    toDate(timestamp, {timezone:String}) AS day,
    count() AS count
FROM events FINAL
WHERE project_id = {project_id:String}
  AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
  AND event_type IN ('js_error', 'unhandled_rejection', 'console_error', 'resource_error')
  AND timestamp >= period_start AND timestamp < period_end
  AND error_fingerprint = {error_id:String}
GROUP BY day
ORDER BY day
SETTINGS do_not_merge_across_partitions_select_final = 1
