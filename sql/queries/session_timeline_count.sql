-- How many events session_timeline has in all: one row.
SELECT count() AS events
FROM events FINAL
WHERE project_id = {project_id:String}
  AND event_date BETWEEN {first_day:Date} AND {last_day:Date}
  AND session_id = toUUIDOrZero({session_id:String})
  AND (empty({event_types:Array(String)}) OR has({event_types:Array(String)}, event_type))
