-- Sessions of a project by their begin, as rules of alerts count them.
SELECT
    toString(session_id) AS session_id,
    toUnixTimestamp64Milli(started_at) AS started_at_ms,
    toUnixTimestamp64Milli(ended_at) AS ended_at_ms,
    revision,
    is_closed,
    is_bounce,
    entry_path,
    browser,
    os,
    device_type,
    country
FROM sessions FINAL
WHERE project_id = {project_id:String}
  AND started_at >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')
  AND started_at < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')
ORDER BY started_at, session_id
