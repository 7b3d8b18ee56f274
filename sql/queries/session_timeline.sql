-- Events of one session in the order they happened, one page at a time; no types means all.
-- The next page starts after the last row's (timestamp_ms, id); '' as cursor_id is the first page.
SELECT
    toString(events.event_id) AS id,
    event_type AS type,
    toUnixTimestamp64Milli(timestamp) AS timestamp_ms,
    url,
    payload
FROM events FINAL
WHERE project_id = {project_id:String}
  AND event_date BETWEEN {first_day:Date} AND {last_day:Date}
  AND session_id = toUUIDOrZero({session_id:String})
  AND (empty({event_types:Array(String)}) OR has({event_types:Array(String)}, event_type))
  AND (
      {cursor_id:String} = ''
      OR (timestamp, events.event_id) > (
          fromUnixTimestamp64Milli({cursor_ms:Int64}, 'UTC'), toUUIDOrZero({cursor_id:String})
      )
  )
ORDER BY timestamp, events.event_id
LIMIT {offset:UInt32}, {limit:UInt32}
