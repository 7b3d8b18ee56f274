-- Insights of a period, newest first, one page at a time; a filter that is empty does not filter.
-- A trailing * of `path` means all pages below. The next page starts after the last row's
-- (timestamp_ms, id); pass '' as cursor_id for the first page.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    toString(insights.insight_id) AS id,
    insight_type AS type,
    severity,
    toUnixTimestamp64Milli(timestamp) AS timestamp_ms,
    toUnixTimestamp64Milli(ended_at) AS ended_at_ms,
    toString(insights.session_id) AS session_id,
    url,
    path,
    target_selector,
    x,
    y,
    details
FROM insights FINAL
WHERE project_id = {project_id:String}
  AND insight_date BETWEEN toDate(period_start) AND toDate(period_end)
  AND timestamp >= period_start AND timestamp < period_end
  AND ({type:String} = '' OR insight_type = {type:String})
  AND if(
      endsWith({path:String}, '*'),
      startsWith(path, substring({path:String}, 1, length({path:String}) - 1)),
      {path:String} = '' OR path = {path:String}
  )
  AND (
      {cursor_id:String} = ''
      OR (timestamp, insights.insight_id) < (
          fromUnixTimestamp64Milli({cursor_ms:Int64}, 'UTC'), toUUIDOrZero({cursor_id:String})
      )
  )
ORDER BY timestamp DESC, insights.insight_id DESC
LIMIT {limit:UInt32}
SETTINGS do_not_merge_across_partitions_select_final = 1
