-- Positions of the pointer per 10 px cell of a page, as far as browsers send them.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    intDiv(px, 10) * 10 + 5 AS x,
    intDiv(py, 10) * 10 + 5 AS y,
    count() AS count
FROM (
    SELECT
        JSONExtractInt(position, 'x') AS px,
        JSONExtractInt(position, 'y') AS py
    FROM events FINAL
    ARRAY JOIN JSONExtractArrayRaw(payload, 'positions') AS position
    WHERE project_id = {project_id:String}
      AND event_type = 'mouse_move'
      AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
      AND timestamp >= period_start AND timestamp < period_end
      AND path = {path:String}
      AND ({device_type:String} = '' OR device_type = {device_type:String})
      AND viewport_width BETWEEN {width_min:UInt32} AND {width_max:UInt32}
)
WHERE px >= 0 AND py >= 0
GROUP BY x, y
ORDER BY count DESC, y, x
LIMIT {limit:UInt32}
SETTINGS do_not_merge_across_partitions_select_final = 1
