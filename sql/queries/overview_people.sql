-- How many people were in a project in a period: one row. Source: sessions.md, section 7, rule 2.
-- Who an event is: its own user; whoever its visitor said to be last before it; whoever that visitor
-- first said to be, if within 30 days after it; the visitor. Only events of visitors who ever said
-- who they are have to be looked at one by one.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT uniqExact(person) AS users
FROM (
    SELECT DISTINCT if(user_id != '', user_id, anonymous_id) AS person
    FROM events
    WHERE project_id = {project_id:String}
      AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
      AND timestamp >= period_start AND timestamp < period_end
      AND (
          user_id != ''
          OR anonymous_id NOT IN (
              SELECT anonymous_id FROM identities WHERE project_id = {project_id:String}
          )
      )
    UNION ALL
    SELECT DISTINCT
        multiIf(
            before.user_id != '', before.user_id,
            after.user_id != '' AND after.linked_at <= event.timestamp + toIntervalDay(30),
            after.user_id,
            event.anonymous_id
        ) AS person
    FROM (
        SELECT timestamp, anonymous_id
        FROM events
        WHERE project_id = {project_id:String}
          AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
          AND timestamp >= period_start AND timestamp < period_end
          AND user_id = ''
          AND anonymous_id IN (
              SELECT anonymous_id FROM identities WHERE project_id = {project_id:String}
          )
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
)
WHERE person != ''
