-- Insights of a project by their time, as rules of alerts count them.
SELECT
    toString(insight_id) AS insight_id,
    toString(session_id) AS session_id,
    insight_type,
    toUnixTimestamp64Milli(timestamp) AS timestamp_ms,
    toUnixTimestamp64Milli(ended_at) AS ended_at_ms,
    path
FROM insights FINAL
WHERE project_id = {project_id:String}
  AND timestamp >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')
  AND timestamp < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')
ORDER BY timestamp, insight_id
