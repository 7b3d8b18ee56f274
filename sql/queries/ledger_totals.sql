-- What became of the events received in a period, by outcome and reason.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    outcome,
    reason,
    sum(events) AS events
FROM ledger_minutes
WHERE project_id = {project_id:String}
  AND minute >= period_start AND minute < period_end
GROUP BY outcome, reason
ORDER BY outcome, reason
