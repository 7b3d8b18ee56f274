-- Of the sessions that began in a period, or in the one before, and are over: how long they were,
-- how many bounced. A row for each of the two that has any.
WITH
    fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC') AS before_start,
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    started_at >= period_start AS is_now,
    count() AS closed_sessions,
    countIf(is_bounce) AS bounced_sessions,
    sum(duration_ms) AS duration_ms
FROM sessions FINAL
WHERE project_id = {project_id:String}
  AND started_at >= before_start AND started_at < period_end
  AND is_closed
GROUP BY is_now
ORDER BY is_now
SETTINGS do_not_merge_across_partitions_select_final = 1
