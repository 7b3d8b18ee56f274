-- What became of the events received in each minute of a period, by outcome and reason, oldest first.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    toInt64(toUnixTimestamp(minute)) * 1000 AS minute_ms,
    outcome,
    reason,
    sum(events) AS events
FROM ledger_minutes
WHERE project_id = {project_id:String}
  AND minute >= period_start AND minute < period_end
GROUP BY minute, outcome, reason
ORDER BY minute, outcome, reason
