-- Of the sessions that began in a period, or in the one before, and are over: how long they were,
-- how many bounced. A row for each of the two that has any. The last revision of a session may have
-- begun earlier than the one that is found in the period: it still reaches into it.
WITH
    fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC') AS before_start,
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    begun_at >= period_start AS is_now,
    count() AS closed_sessions,
    countIf(has_bounced) AS bounced_sessions,
    sum(lasted_ms) AS duration_ms
FROM (
    SELECT
        argMax(started_at, revision) AS begun_at,
        argMax(is_bounce, revision) AS has_bounced,
        argMax(session_starts.duration_ms, revision) AS lasted_ms,
        argMax(is_closed, revision) AS has_ended
    FROM session_starts
    WHERE project_id = {project_id:String}
      AND started_at < period_end AND ended_at >= before_start
    GROUP BY session_id
)
WHERE has_ended AND begun_at >= before_start
GROUP BY is_now
ORDER BY is_now
