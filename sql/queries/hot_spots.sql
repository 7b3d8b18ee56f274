-- The elements of pages on which most clicks went wrong; filtered as insights_list.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    path,
    target_selector AS selector,
    countIf(insight_type = 'rage_click') AS rage_click_count,
    countIf(insight_type = 'dead_click') AS dead_click_count,
    countIf(insight_type = 'error_click') AS error_click_count,
    uniqExact(session_id) AS sessions
FROM insights FINAL
WHERE project_id = {project_id:String}
  AND insight_date BETWEEN toDate(period_start) AND toDate(period_end)
  AND timestamp >= period_start AND timestamp < period_end
  AND insight_type IN ('rage_click', 'dead_click', 'error_click')
  AND target_selector != ''
  AND ({type:String} = '' OR insight_type = {type:String})
  AND if(
      endsWith({path:String}, '*'),
      startsWith(path, substring({path:String}, 1, length({path:String}) - 1)),
      {path:String} = '' OR path = {path:String}
  )
GROUP BY path, target_selector
ORDER BY
    rage_click_count + dead_click_count + error_click_count DESC,
    rage_click_count DESC,
    path,
    selector
LIMIT {limit:UInt32}
SETTINGS do_not_merge_across_partitions_select_final = 1
