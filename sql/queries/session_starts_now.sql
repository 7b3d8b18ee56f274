-- When each of some sessions began as last revised; `from_ms` and `until_ms` are the first and the last
-- of the starts that are asked about. A start is only ever moved back, while the end stays or moves on,
-- so the last revision of each began before `until_ms` and reaches beyond `from_ms`.
SELECT
    toString(session_starts.session_id) AS id,
    toUnixTimestamp64Milli(argMax(started_at, revision)) AS started_at_ms
FROM session_starts
WHERE project_id = {project_id:String}
  AND started_at <= fromUnixTimestamp64Milli({until_ms:Int64}, 'UTC')
  AND ended_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
  AND session_starts.session_id IN (
      SELECT toUUIDOrZero(arrayJoin({session_ids:Array(String)}))
  )
GROUP BY session_starts.session_id
