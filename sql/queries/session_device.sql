-- With what and from where a session came: of each the first that its events tell. No row without events.
SELECT
    argMinIf(events.browser_version, (timestamp, event_id), events.browser_version != '') AS browser_version,
    argMinIf(events.os_version, (timestamp, event_id), events.os_version != '') AS os_version,
    argMinIf(events.screen_width, (timestamp, event_id), events.screen_width > 0) AS screen_width,
    argMinIf(events.screen_height, (timestamp, event_id), events.screen_width > 0) AS screen_height,
    argMinIf(events.viewport_width, (timestamp, event_id), events.viewport_width > 0) AS viewport_width,
    argMinIf(events.viewport_height, (timestamp, event_id), events.viewport_width > 0) AS viewport_height,
    argMinIf(events.language, (timestamp, event_id), events.language != '') AS language,
    argMinIf(events.timezone, (timestamp, event_id), events.timezone != '') AS timezone,
    argMinIf(events.region, (timestamp, event_id), events.region != '') AS region
FROM events FINAL
WHERE project_id = {project_id:String}
  AND event_date BETWEEN {first_day:Date} AND {last_day:Date}
  AND session_id = toUUIDOrZero({session_id:String})
HAVING count() > 0
