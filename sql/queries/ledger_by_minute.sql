-- What became of the events received in each minute of a period, oldest first.
-- `unaccounted` is 0 when received = stored + duplicate + rejected + dropped.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    toInt64(toUnixTimestamp(minute)) * 1000 AS minute_ms,
    sumIf(events, outcome = 'received') AS received,
    sumIf(events, outcome = 'stored') AS stored,
    sumIf(events, outcome = 'duplicate') AS duplicate,
    sumIf(events, outcome = 'rejected') AS rejected,
    sumIf(events, outcome = 'dropped') AS dropped,
    toInt64(received) - toInt64(stored + duplicate + rejected + dropped) AS unaccounted
FROM ledger_minutes
WHERE project_id = {project_id:String}
  AND minute >= period_start AND minute < period_end
GROUP BY minute
ORDER BY minute
