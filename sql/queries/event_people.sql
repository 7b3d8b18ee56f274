-- Who each event of a period is; an empty session_id is every session's.
-- In this order: the event's own user; whoever its visitor said to be last before it; whoever that
-- visitor first said to be, if within 30 days after it; the visitor. Source: sessions.md, section 7.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    toString(event.id) AS event_id,
    toUnixTimestamp64Milli(event.timestamp) AS timestamp_ms,
    multiIf(
        event.user_id != '', event.user_id,
        before.user_id != '', before.user_id,
        after.user_id != '' AND after.linked_at <= event.timestamp + toIntervalDay(30), after.user_id,
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
    SELECT anonymous_id, linked_at, argMax(user_id, event_id) AS user_id
    FROM identities
    WHERE project_id = {project_id:String}
    GROUP BY anonymous_id, linked_at
) AS before
    ON event.anonymous_id = before.anonymous_id AND event.timestamp >= before.linked_at
LEFT JOIN (
    SELECT
        anonymous_id,
        min(identities.linked_at) AS linked_at,
        argMin(user_id, (identities.linked_at, -reinterpretAsInt128(event_id))) AS user_id
    FROM identities
    WHERE project_id = {project_id:String}
    GROUP BY anonymous_id
) AS after ON event.anonymous_id = after.anonymous_id
ORDER BY event.timestamp, event.id
LIMIT {limit:UInt32}
