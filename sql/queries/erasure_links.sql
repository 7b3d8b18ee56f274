-- Users and visitors that are linked with one id, which may be either; one row a link.
-- An id that is linked with several users is a device that they share: it makes nobody one person.
WITH
    {subject:String} AS asked,
    (
        SELECT groupUniqArray(user_id) FROM identities
        WHERE project_id = {project_id:String} AND anonymous_id = asked
    ) AS users_of_device,
    (
        SELECT count() FROM identities WHERE project_id = {project_id:String} AND user_id = asked
    ) + (
        SELECT count() FROM events WHERE project_id = {project_id:String} AND user_id = asked
    ) + (
        SELECT count() FROM sessions WHERE project_id = {project_id:String} AND user_id = asked
    ) > 0 AS is_user,
    multiIf(is_user, [asked], length(users_of_device) = 1, users_of_device, []) AS users
SELECT id, kind
FROM (
    SELECT arrayJoin(users) AS id, 'user' AS kind
    UNION ALL
    SELECT
        anonymous_id AS id,
        if(countIf(NOT has(users, user_id)) = 0, 'anonymous', 'shared') AS kind
    FROM (
        SELECT anonymous_id, user_id FROM identities WHERE project_id = {project_id:String}
        UNION ALL
        SELECT DISTINCT anonymous_id, user_id FROM events
        WHERE project_id = {project_id:String} AND user_id != '' AND anonymous_id != ''
    )
    GROUP BY anonymous_id
    HAVING countIf(has(users, user_id)) > 0
    UNION ALL
    SELECT asked AS id, 'anonymous' AS kind
    WHERE NOT is_user AND empty(users)
)
GROUP BY id, kind
ORDER BY kind, id
