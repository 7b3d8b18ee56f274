-- What tells which pages a session saw, for how long and how far down, in the order it happened.
SELECT
    event_type,
    toUnixTimestamp64Milli(timestamp) AS timestamp_ms,
    url,
    path,
    title,
    page_view_id,
    time_on_page_ms,
    scroll_depth
FROM events FINAL
WHERE project_id = {project_id:String}
  AND event_date BETWEEN {first_day:Date} AND {last_day:Date}
  AND session_id = toUUIDOrZero({session_id:String})
  AND event_type IN ('page_view', 'page_exit', 'scroll', 'scroll_milestone')
ORDER BY timestamp, event_id
LIMIT {limit:UInt32}
