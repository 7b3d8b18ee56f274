-- The pages of one session as steps, in order; consecutive views of one page are one step.
-- `screen` is the page key: the path, followed by the fragment if that is a route.
SELECT
    toUInt32(row_number() OVER (ORDER BY timestamp, id)) AS step_num,
    screen,
    toUnixTimestamp64Milli(timestamp) AS occurred_at_ms
FROM (
    SELECT
        timestamp,
        event_id AS id,
        path || if(match(fragment(url), '^[/!]'), '#' || fragment(url), '') AS screen,
        lagInFrame(toNullable(screen)) OVER (
            ORDER BY timestamp, event_id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        ) AS screen_before
    FROM events FINAL
    WHERE events.project_id = {project_id:String}
      AND events.session_id = toUUIDOrZero({session_id:String})
      AND event_type = 'page_view'
)
WHERE screen_before IS NULL OR screen_before != screen
ORDER BY step_num
LIMIT 200
