-- Events of a period, newest first, one page at a time.
-- A filter that is empty does not filter. A user's events are those that say so, and those that say
-- nobody of visitors who were the user then: ask user_visitors for them first. The next page starts
-- after the last row of this one: pass its timestamp_ms and event_id as the cursor, and 0 and '' for
-- the first page.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    toString(event_id) AS event_id,
    toString(session_id) AS session_id,
    user_id,
    anonymous_id,
    event_type,
    toUnixTimestamp64Milli(timestamp) AS timestamp_ms,
    toUnixTimestamp64Milli(received_at) AS received_at_ms,
    url,
    path,
    title,
    browser,
    os,
    device_type,
    country,
    country_code,
    city,
    is_bot,
    payload,
    custom
FROM events FINAL
WHERE project_id = {project_id:String}
  AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
  AND timestamp >= period_start AND timestamp < period_end
  AND ({event_type:String} = '' OR event_type = {event_type:String})
  AND ({session_id:String} = '' OR events.session_id = toUUIDOrZero({session_id:String}))
  AND (
      {user_id:String} = ''
      OR user_id = {user_id:String}
      OR (
          user_id = ''
          AND has({visitors:Array(String)}, anonymous_id)
          AND arrayExists(
              (visitor, from_ms, until_ms) ->
                  visitor = anonymous_id AND timestamp_ms >= from_ms AND timestamp_ms < until_ms,
              {visitors:Array(String)},
              {visitors_from_ms:Array(Int64)},
              {visitors_until_ms:Array(Int64)}
          )
      )
  )
  AND ({path:String} = '' OR path = {path:String})
  AND (
      {cursor_event_id:String} = ''
      OR (timestamp, events.event_id) < (
          fromUnixTimestamp64Milli({cursor_ms:Int64}, 'UTC'), toUUIDOrZero({cursor_event_id:String})
      )
  )
ORDER BY timestamp DESC, events.event_id DESC
LIMIT {limit:UInt32}
