-- What is kept of a project: rows, and the oldest and newest day that has any, of each kind. One row.
SELECT *
FROM (
    SELECT
        count() AS events_rows,
        minOrNull(event_date) AS events_first_day,
        maxOrNull(event_date) AS events_last_day
    FROM events
    WHERE project_id = {project_id:String}
) AS a
CROSS JOIN (
    SELECT
        uniqExact(session_id) AS sessions_rows,
        minOrNull(session_date) AS sessions_first_day,
        maxOrNull(session_date) AS sessions_last_day
    FROM sessions
    WHERE project_id = {project_id:String}
) AS b
CROSS JOIN (
    SELECT
        uniqExact(insight_id) AS insights_rows,
        minOrNull(insight_date) AS insights_first_day,
        maxOrNull(insight_date) AS insights_last_day
    FROM insights
    WHERE project_id = {project_id:String}
) AS c
CROSS JOIN (
    SELECT
        count() AS replay_rows,
        minOrNull(chunk_date) AS replay_first_day,
        maxOrNull(chunk_date) AS replay_last_day
    FROM replay_chunks
    WHERE project_id = {project_id:String}
) AS d
