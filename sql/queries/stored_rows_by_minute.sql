-- Rows stored per minute of receipt: the recount that the ledger's `stored` must equal.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    toInt64(toUnixTimestamp(toStartOfMinute(received_at))) * 1000 AS minute_ms,
    count() AS stored
FROM events FINAL
WHERE project_id = {project_id:String}
  AND received_at >= period_start AND received_at < period_end
GROUP BY minute_ms
ORDER BY minute_ms
