-- Of the sessions that began in a period and are over: how long they were, how many bounced.
-- One row; null without any.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    count() AS closed_sessions,
    countIf(is_bounce) AS bounced_sessions,
    sum(duration_ms) AS duration_ms
FROM sessions FINAL
WHERE project_id = {project_id:String}
  AND started_at >= period_start AND started_at < period_end
  AND is_closed
SETTINGS do_not_merge_across_partitions_select_final = 1
