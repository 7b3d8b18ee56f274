-- Requests of pages to servers: how many, how fast, how many failed; the slowest first.
-- A failed request has no status, or one from 400 on. Empty filters mean all.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    method,
    path,
    count() AS requests,
    quantileExactInclusive(0.5)(latency_ms) AS latency_ms_p50,
    quantileExactInclusive(0.95)(latency_ms) AS latency_ms_p95,
    countIf(status = 0 OR status >= 400) AS errors,
    round(errors / requests, 4) AS error_share
FROM latency_metrics
WHERE project_id = {project_id:String}
  AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
  AND requested_at >= period_start AND requested_at < period_end
  AND ({method:String} = '' OR method = upper({method:String}))
  AND ({path:String} = '' OR path = {path:String})
GROUP BY method, path
ORDER BY latency_ms_p95 DESC, requests DESC, method, path
LIMIT {limit:UInt32}
