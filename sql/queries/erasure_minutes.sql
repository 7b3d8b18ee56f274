-- Events of one request's visitor by minute of receipt: what the ledger booked as stored.
SELECT toInt64(toUnixTimestamp(toStartOfMinute(received_at))) * 1000 AS minute_ms, count() AS events
FROM events FINAL
WHERE project_id = {project_id:String} AND event_id IN (
    SELECT toUUID(id) FROM erasing_ids
    WHERE request_id = toUUID({request_id:String}) AND kind = 'event'
)
GROUP BY minute_ms
ORDER BY minute_ms
