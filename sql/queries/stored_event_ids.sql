-- Ids of events stored for some sessions, without those of one block and after it in its partitions.
-- Asked by the storage flow for sessions it does not hold in memory. Values are put in by the client
-- (its percent style), because a list of thousands of sessions does not fit into a URL.
SELECT
    project_id,
    toString(session_id) AS session,
    groupArray(%(ids)s)(toString(event_id)) AS event_ids
FROM events
WHERE project_id IN %(projects)s
  AND session_id IN %(sessions)s
  AND event_date >= %(since)s
  AND NOT arrayExists(
      (topic, number, first_offset) ->
          source_topic = topic AND source_partition = number AND source_offset >= first_offset,
      %(topics)s, %(partitions)s, %(firsts)s
  )
GROUP BY project_id, session
