-- Occurrences of errors in a period, newest first, one page at a time; '' as error_id means all.
-- The next page starts after the last row's (timestamp_ms, event_id); '' as cursor_id is the first.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    toString(events.event_id) AS event_id,
    error_fingerprint AS id,
    toString(events.session_id) AS session_id,
    toUnixTimestamp64Milli(timestamp) AS timestamp_ms,
    event_type,
    error_type,
    error_message AS message,
    error_stack AS stack,
    url,
    path,
    browser
FROM events FINAL
WHERE project_id = {project_id:String}
  AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
  AND event_type IN ('js_error', 'unhandled_rejection', 'console_error', 'resource_error')
  AND timestamp >= period_start AND timestamp < period_end
  AND ({error_id:String} = '' OR error_fingerprint = {error_id:String})
  AND (
      {cursor_id:String} = ''
      OR (timestamp, events.event_id) < (
          fromUnixTimestamp64Milli({cursor_ms:Int64}, 'UTC'), toUUIDOrZero({cursor_id:String})
      )
  )
ORDER BY timestamp DESC, events.event_id DESC
LIMIT {limit:UInt32}
SETTINGS do_not_merge_across_partitions_select_final = 1
