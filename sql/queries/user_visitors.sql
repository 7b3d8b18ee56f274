-- Visitors who were a user at some time of a period, from when and until when; the newest first. What
-- they did then without saying a user is the user's. Sessions of the period may end a day after it.
-- Source: sessions.md, section 7, rule 2; view visitor_users.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    anonymous_id,
    toUnixTimestamp64Milli(known_from) AS from_ms,
    toUnixTimestamp64Milli(known_until) AS until_ms
FROM (
    SELECT
        anonymous_id,
        known_from,
        user_id,
        leadInFrame(known_from, 1, toDateTime64('2299-12-31', 3, 'UTC')) OVER (
            PARTITION BY anonymous_id ORDER BY known_from
            ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        ) AS known_until
    FROM visitor_users
    WHERE project_id = {project_id:String}
      AND anonymous_id IN (
          SELECT anonymous_id FROM identities
          WHERE project_id = {project_id:String} AND user_id = {user_id:String}
      )
)
WHERE user_id = {user_id:String}
  AND known_from < period_end + toIntervalDay(1) AND known_until > period_start
ORDER BY from_ms DESC, anonymous_id
LIMIT {limit:UInt32}
