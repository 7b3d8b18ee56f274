-- When each error that happened after a time was last seen; '' as error_id means all.
SELECT
    error_fingerprint AS id,
    toUnixTimestamp64Milli(max(timestamp)) AS last_seen_ms
FROM events
WHERE project_id = {project_id:String}
  AND event_date >= toDate(fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC'))
  AND event_type IN ('js_error', 'unhandled_rejection', 'console_error', 'resource_error')
  AND timestamp > fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC')
  AND ({error_id:String} = '' OR error_fingerprint = {error_id:String})
GROUP BY error_fingerprint
ORDER BY last_seen_ms DESC, id
LIMIT {limit:UInt32}
