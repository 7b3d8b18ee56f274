-- Events booked as stored per UTC day of receipt.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    toDate(minute) AS day,
    sumIf(events, outcome = 'stored') AS stored,
    sumIf(events, outcome = 'received') AS received
FROM ledger_minutes
WHERE project_id = {project_id:String}
  AND minute >= period_start AND minute < period_end
GROUP BY day
ORDER BY day
