-- Errors of a period by their fingerprint, the last seen first; '' as error_id means all.
-- What differs from time to time is told of the newest occurrence.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    error_fingerprint AS id,
    argMax(error_message, (timestamp, event_id)) AS message,
    argMax(events.error_type, (timestamp, event_id)) AS error_type,
    argMax(events.event_type, (timestamp, event_id)) AS event_type,
    argMax(JSONExtractString(payload, 'filename'), (timestamp, event_id)) AS filename,
    argMax(JSONExtractInt(payload, 'lineno'), (timestamp, event_id)) AS lineno,
    argMax(JSONExtractInt(payload, 'colno'), (timestamp, event_id)) AS colno,
    count() AS count,
    uniqExact(session_id) AS session_count,
    toUnixTimestamp64Milli(min(timestamp)) AS first_seen_ms,
    toUnixTimestamp64Milli(max(timestamp)) AS last_seen_ms,
    sumMap(map(if(browser = '', 'unknown', toString(browser)), toUInt64(1))) AS browsers
FROM events FINAL
WHERE project_id = {project_id:String}
  AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
  AND events.event_type IN ('js_error', 'unhandled_rejection', 'console_error', 'resource_error')
  AND timestamp >= period_start AND timestamp < period_end
  AND ({error_id:String} = '' OR error_fingerprint = {error_id:String})
GROUP BY error_fingerprint
ORDER BY last_seen_ms DESC, id
LIMIT {limit:UInt32}
SETTINGS do_not_merge_across_partitions_select_final = 1
