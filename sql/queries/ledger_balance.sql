-- Over all projects: events received since a moment, and how many of them the ledger cannot account for.
-- Per project and minute, so that a surplus in one cannot hide a gap in another; 0 is sound.
SELECT
    sum(minute_received) AS received,
    sum(abs(toInt64(minute_received) - toInt64(minute_decided))) AS unaccounted
FROM (
    SELECT
        sumIf(events, outcome = 'received') AS minute_received,
        sumIf(events, outcome NOT IN ('received', 'erased')) AS minute_decided
    FROM ledger_minutes
    WHERE minute >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
    GROUP BY project_id, minute
)
