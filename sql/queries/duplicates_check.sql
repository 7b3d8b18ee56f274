-- Whether each event received in a period is stored once: one row.
-- `repeated` is 0 when it is; `rows_before_merge` may be larger until parts are merged.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    count() AS rows,
    uniqExact(event_id) AS distinct_events,
    rows - distinct_events AS repeated,
    (
        SELECT count()
        FROM events
        WHERE project_id = {project_id:String}
          AND received_at >= fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC')
          AND received_at < fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC')
    ) AS rows_before_merge
FROM events FINAL
WHERE project_id = {project_id:String}
  AND received_at >= period_start AND received_at < period_end
