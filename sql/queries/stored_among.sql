-- Which of some ids are stored, for sessions with too many events to ask for all of them.
-- Otherwise as stored_event_ids.sql.
SELECT
    project_id,
    toString(session_id) AS session,
    groupUniqArray(toString(event_id)) AS event_ids
FROM events
WHERE project_id IN %(projects)s
  AND session_id IN %(sessions)s
  AND event_id IN %(event_ids)s
  AND event_date >= %(since)s
  AND NOT arrayExists(
      (topic, number, first_offset) ->
          source_topic = topic AND source_partition = number AND source_offset >= first_offset,
      %(topics)s, %(partitions)s, %(firsts)s
  )
GROUP BY project_id, session
