-- Ids of events stored for some sessions, without those of one block and after it.
-- Asked by the storage flow for sessions it does not hold in memory. Values are put in by the client
-- (its percent style), because a list of thousands of sessions does not fit into a URL.
SELECT
    project_id,
    toString(session_id) AS session,
    groupArray(toString(event_id)) AS event_ids
FROM events
WHERE project_id IN %(projects)s
  AND session_id IN %(sessions)s
  AND event_date >= %(since)s
  AND NOT (
      source_topic = %(topic)s
      AND source_partition = %(partition)s
      AND source_offset >= %(first_offset)s
  )
GROUP BY project_id, session
