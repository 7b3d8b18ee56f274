-- What closed sessions may have felt like, per day of a time zone on which they began.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    toDate(started_at, {timezone:String}) AS day,
    emotion,
    count() AS sessions
FROM sessions FINAL
WHERE project_id = {project_id:String}
  AND started_at >= period_start AND started_at < period_end
  AND is_closed AND emotion != ''
GROUP BY day, emotion
ORDER BY day, emotion
SETTINGS do_not_merge_across_partitions_select_final = 1
