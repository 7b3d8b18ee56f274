-- Sessions with an event since a moment, the last begun first: where they are, and since when.
SELECT
    exit_path AS page,
    country,
    device_type AS device,
    toUnixTimestamp64Milli(started_at) AS since_ms
FROM sessions FINAL
WHERE project_id = {project_id:String}
  AND sessions.session_id IN (
      SELECT events.session_id
      FROM events
      WHERE project_id = {project_id:String}
        AND event_date >= toDate(fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC'))
        AND timestamp >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
  )
ORDER BY started_at DESC, sessions.session_id
LIMIT {limit:UInt32}
SETTINGS do_not_merge_across_partitions_select_final = 1
