-- What was last stored of a period: differs after anything of it was stored. Times are milliseconds,
-- null where nothing is. A session counts for every period that it reaches into.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    toUnixTimestamp64Milli(maxOrNull(changed_at)) AS events_at_ms,
    sum(event_count) AS events,
    (
        SELECT toUnixTimestamp64Milli(maxOrNull(ingested_at))
        FROM session_starts
        WHERE project_id = {project_id:String}
          AND started_at < period_end AND ended_at >= period_start
    ) AS sessions_at_ms,
    (
        SELECT toUnixTimestamp64Milli(maxOrNull(ingested_at))
        FROM insights
        WHERE project_id = {project_id:String}
          AND insight_date BETWEEN toDate(period_start) AND toDate(period_end)
          AND timestamp >= period_start AND timestamp < period_end
    ) AS insights_at_ms
FROM session_quarters
WHERE project_id = {project_id:String}
  AND quarter >= toStartOfFifteenMinutes(period_start) AND quarter < period_end
