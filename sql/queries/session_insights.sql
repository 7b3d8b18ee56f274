-- What was found in one session, in the order it happened.
SELECT
    toString(insight_id) AS id,
    insight_type AS type,
    toUnixTimestamp64Milli(timestamp) AS timestamp_ms,
    url,
    target_selector AS target
FROM insights FINAL
WHERE project_id = {project_id:String}
  AND insight_date BETWEEN {first_day:Date} AND {last_day:Date}
  AND insights.session_id = toUUIDOrZero({session_id:String})
ORDER BY timestamp, insight_id
LIMIT {limit:UInt32}
