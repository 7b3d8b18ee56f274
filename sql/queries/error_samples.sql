-- The newest occurrence of one error in each of the sessions that had it last.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    toString(events.session_id) AS session_id,
    toUnixTimestamp64Milli(timestamp) AS timestamp_ms,
    url,
    error_stack AS stack
FROM events FINAL
WHERE project_id = {project_id:String}
  AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
  AND event_type IN ('js_error', 'unhandled_rejection', 'console_error', 'resource_error')
  AND timestamp >= period_start AND timestamp < period_end
  AND error_fingerprint = {error_id:String}
ORDER BY timestamp DESC, events.event_id DESC
LIMIT 1 BY events.session_id
LIMIT {limit:UInt32}
SETTINGS do_not_merge_across_partitions_select_final = 1
