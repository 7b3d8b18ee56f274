-- How far behind storing is: the newest times, and the lag of events received since a moment.
-- Lag is from the gateway's receipt to the row's arrival here. Times and lags are null without events.
SELECT
    count() AS events,
    toUnixTimestamp64Milli(maxOrNull(received_at)) AS last_received_ms,
    toUnixTimestamp64Milli(maxOrNull(ingested_at)) AS last_ingested_ms,
    quantileExactOrNull(0.5)(lag_ms) AS lag_ms_p50,
    quantileExactOrNull(0.99)(lag_ms) AS lag_ms_p99,
    maxOrNull(lag_ms) AS lag_ms_max
FROM (
    SELECT
        received_at,
        ingested_at,
        toUnixTimestamp64Milli(ingested_at) - toUnixTimestamp64Milli(received_at) AS lag_ms
    FROM events FINAL
    WHERE project_id = {project_id:String}
      AND received_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
)
