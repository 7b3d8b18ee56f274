-- On which pages one error happens, the most frequent first.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    path,
    count() AS count
FROM events FINAL
WHERE project_id = {project_id:String}
  AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
  AND event_type IN ('js_error', 'unhandled_rejection', 'console_error', 'resource_error')
  AND timestamp >= period_start AND timestamp < period_end
  AND error_fingerprint = {error_id:String}
GROUP BY path
ORDER BY count DESC, path
LIMIT {limit:UInt32}
SETTINGS do_not_merge_across_partitions_select_final = 1
