-- Page views stored from one partition in the last minutes, to go on counting after a restart.
SELECT
    project_id,
    path,
    toStartOfMinute(received_at) AS minute,
    count() AS views
FROM events FINAL
WHERE event_type = 'page_view'
  AND source_topic = {topic:String}
  AND source_partition = {partition:UInt32}
  AND event_date >= {since_day:Date} -- Leaves out the months that cannot hold any.
  AND received_at >= {since:DateTime64(3, 'UTC')}
  AND source_offset < {before_offset:UInt64}
GROUP BY project_id, path, minute
