-- Who each event of a period is; an empty session_id is every session's.
-- In this order: the event's own user; the user that its visitor was then (visitor_users); the visitor.
-- Source: sessions.md, section 7.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    toString(event.id) AS event_id,
    toUnixTimestamp64Milli(event.timestamp) AS timestamp_ms,
    multiIf(
        event.user_id != '', event.user_id,
        known.user_id != '', known.user_id,
        event.anonymous_id
    ) AS person
FROM (
    SELECT event_id AS id, timestamp, user_id, anonymous_id
    FROM events FINAL
    WHERE events.project_id = {project_id:String}
      AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
      AND timestamp >= period_start AND timestamp < period_end
      AND ({session_id:String} = '' OR events.session_id = toUUIDOrZero({session_id:String}))
) AS event
ASOF LEFT JOIN (
    SELECT anonymous_id, known_from, user_id
    FROM visitor_users
    WHERE project_id = {project_id:String}
) AS known
    ON event.anonymous_id = known.anonymous_id AND event.timestamp >= known.known_from
ORDER BY event.timestamp, event.id
LIMIT {limit:UInt32}
