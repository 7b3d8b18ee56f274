-- Days on which one request's visitor has rows, and whether all rows of the project's day are there.
-- Where some have expired the aggregates of the day hold more than its rows.
SELECT day, kind, aggregated <= counted AS is_whole
FROM (
    SELECT day, 'events' AS kind, counted, aggregated
    FROM (
        SELECT
            event_date AS day,
            count() AS counted,
            countIf(event_id IN (
                SELECT toUUID(id) FROM erasing_ids
                WHERE request_id = toUUID({request_id:String}) AND kind = 'event'
            )) AS own
        FROM events FINAL
        WHERE project_id = {project_id:String}
        GROUP BY day
        HAVING own > 0
    ) AS raw
    LEFT JOIN (
        SELECT toDate(hour) AS day, sum(event_count) AS aggregated
        FROM events_hourly
        WHERE project_id = {project_id:String}
        GROUP BY day
    ) AS kept USING (day)
    UNION ALL
    SELECT day, 'sessions' AS kind, counted, aggregated
    FROM (
        SELECT
            toDate(started_at) AS day,
            count() AS counted,
            countIf(session_id IN (
                SELECT toUUID(id) FROM erasing_ids
                WHERE request_id = toUUID({request_id:String}) AND kind = 'session'
            )) AS own
        FROM sessions FINAL
        WHERE project_id = {project_id:String}
        GROUP BY day
        HAVING own > 0
    ) AS raw
    LEFT JOIN (
        SELECT day, sum(session_count) AS aggregated
        FROM sessions_daily FINAL
        WHERE project_id = {project_id:String}
        GROUP BY day
    ) AS kept USING (day)
)
ORDER BY kind, day
