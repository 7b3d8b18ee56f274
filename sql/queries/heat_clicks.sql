-- Clicks per 10 px cell of a page: the cell's centre, and the element mostly clicked in it.
-- Clicks without a place (made by keys) are in no cell. An empty device type means all.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    toInt32(floor(assumeNotNull(click_x) / 10)) * 10 + 5 AS x,
    toInt32(floor(assumeNotNull(click_y) / 10)) * 10 + 5 AS y,
    count() AS count,
    -- Of equally frequent ones the last by name.
    arraySort(
        pair -> (-toInt64(pair.2), pair.1),
        arrayZip(
            (sumMap([target_selector], [toUInt64(1)]) AS by_selector).1, by_selector.2
        )
    )[1].1 AS selector
FROM events FINAL
WHERE project_id = {project_id:String}
  AND event_type = 'click'
  AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
  AND timestamp >= period_start AND timestamp < period_end
  AND path = {path:String}
  AND ({device_type:String} = '' OR device_type = {device_type:String})
  AND viewport_width BETWEEN {width_min:UInt32} AND {width_max:UInt32}
  AND click_x IS NOT NULL AND click_y IS NOT NULL
GROUP BY x, y
ORDER BY count DESC, y, x
LIMIT {limit:UInt32}
SETTINGS do_not_merge_across_partitions_select_final = 1
