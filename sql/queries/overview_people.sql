-- How many people were in a project in a period and in the one before: a row for each that had any.
-- Source: sessions.md, section 7, rule 2. Who an event is: event_people. Only events of visitors who
-- ever said who they are have to be looked at one by one, and those of quarters of an hour that an edge
-- of the period cuts; all others are told from the quarters.
WITH
    fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC') AS before_start,
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end,
    arrayMap(
        edge -> toStartOfFifteenMinutes(edge),
        arrayFilter(
            edge -> toDateTime64(toStartOfFifteenMinutes(edge), 3, 'UTC') != edge,
            [before_start, period_start, period_end]
        )
    ) AS cut_quarters,
    (
        SELECT count() > 0
        FROM session_quarters
        WHERE project_id = {project_id:String}
          AND quarter >= toStartOfFifteenMinutes(before_start) AND quarter < period_end
          AND user_id = ''
          AND anonymous_id IN (
              SELECT anonymous_id FROM identities WHERE project_id = {project_id:String}
          )
    ) AS has_linked_visitors
SELECT is_now, uniqExact(person) AS users
FROM (
    SELECT DISTINCT
        quarter >= period_start AS is_now,
        if(user_id != '', user_id, anonymous_id) AS person
    FROM session_quarters
    WHERE project_id = {project_id:String}
      AND quarter >= toStartOfFifteenMinutes(before_start) AND quarter < period_end
      AND indexOf(cut_quarters, quarter) = 0
      AND (
          user_id != ''
          OR anonymous_id NOT IN (
              SELECT anonymous_id FROM identities WHERE project_id = {project_id:String}
          )
      )
    UNION ALL
    SELECT DISTINCT
        event.timestamp >= period_start AS is_now,
        multiIf(
            event.user_id != '', event.user_id,
            known.user_id != '', known.user_id,
            event.anonymous_id
        ) AS person
    FROM (
        SELECT timestamp, anonymous_id, user_id
        FROM events
        WHERE project_id = {project_id:String}
          AND event_date BETWEEN toDate(before_start) AND toDate(period_end)
          AND (has_linked_visitors OR has(arrayMap(cut -> toDate(cut), cut_quarters), event_date))
          AND timestamp >= before_start AND timestamp < period_end
          AND (
              (
                  user_id = ''
                  AND anonymous_id IN (
                      SELECT anonymous_id FROM identities WHERE project_id = {project_id:String}
                  )
              )
              OR has(cut_quarters, toStartOfFifteenMinutes(timestamp))
          )
    ) AS event
    ASOF LEFT JOIN (
        SELECT anonymous_id, known_from, user_id
        FROM visitor_users
        WHERE project_id = {project_id:String}
    ) AS known
        ON event.anonymous_id = known.anonymous_id AND event.timestamp >= known.known_from
)
WHERE person != ''
GROUP BY is_now
ORDER BY is_now
