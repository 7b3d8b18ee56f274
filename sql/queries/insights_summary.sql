-- Insights of a period by type, and in how many sessions; filtered as insights_list.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    insight_type AS type,
    count() AS insights,
    uniqExact(session_id) AS sessions
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
GROUP BY insight_type
ORDER BY insight_type
SETTINGS do_not_merge_across_partitions_select_final = 1
