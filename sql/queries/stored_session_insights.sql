-- The insights of some sessions: which there are, and the evidence of each.
-- Values are put in by the client (its percent style), because hundreds of ids do not fit into a URL.
SELECT
    toString(insights.session_id) AS session_id,
    toString(insight_id) AS insight_id,
    insight_type,
    toUnixTimestamp64Milli(timestamp) AS timestamp_ms,
    detector_version,
    arrayMap(event -> toString(event), insights.related_event_ids) AS related_event_ids
FROM insights FINAL
WHERE project_id = %(project)s
  AND insights.session_id IN %(sessions)s
