-- What was said of a user: of each trait the newest value; the newest 50 traits.
SELECT
    name,
    argMax(value, (linked_at, event_id)) AS value,
    toUnixTimestamp64Milli(max(linked_at)) AS said_at_ms
FROM identities
ARRAY JOIN mapKeys(traits) AS name, mapValues(traits) AS value
WHERE project_id = {project_id:String} AND user_id = {user_id:String}
GROUP BY name
ORDER BY said_at_ms DESC, name
LIMIT 50
