-- Rows of one request's visitor by table, each counted once; one row.
SELECT *
FROM (
    SELECT count() AS replay_chunks FROM replay_chunks FINAL
    WHERE project_id = {project_id:String} AND session_id IN (
        SELECT toUUID(id) FROM erasing_ids
        WHERE request_id = toUUID({request_id:String}) AND kind = 'session'
    )
) AS a
CROSS JOIN (
    SELECT count() AS insights FROM insights FINAL
    WHERE project_id = {project_id:String} AND session_id IN (
        SELECT toUUID(id) FROM erasing_ids
        WHERE request_id = toUUID({request_id:String}) AND kind = 'session'
    )
) AS b
CROSS JOIN (
    SELECT count() AS events FROM events FINAL
    WHERE project_id = {project_id:String} AND event_id IN (
        SELECT toUUID(id) FROM erasing_ids
        WHERE request_id = toUUID({request_id:String}) AND kind = 'event'
    )
) AS c
CROSS JOIN (
    SELECT count() AS sessions FROM sessions FINAL
    WHERE project_id = {project_id:String} AND session_id IN (
        SELECT toUUID(id) FROM erasing_ids
        WHERE request_id = toUUID({request_id:String}) AND kind = 'session'
    )
) AS d
CROSS JOIN (
    SELECT count() AS identities FROM identities FINAL
    WHERE project_id = {project_id:String} AND (
        user_id IN (
            SELECT id FROM erasing_ids
            WHERE request_id = toUUID({request_id:String}) AND kind = 'user'
        )
        OR anonymous_id IN (
            SELECT id FROM erasing_ids
            WHERE request_id = toUUID({request_id:String}) AND kind = 'anonymous'
        )
    )
) AS e
