-- The most viewed pages of a period: views, from how many sessions and visitors, and how long a view
-- lasted on average; null where none is known.
SELECT
    path,
    count() AS page_views,
    uniqExact(session_id) AS sessions,
    uniqExactIf(anonymous_id, anonymous_id != '') AS visitors,
    avg(time_ms) / 1000 AS avg_seconds
FROM page_stays(
    project_id = {project_id:String}, start_ms = {start_ms:Int64}, end_ms = {end_ms:Int64}
)
GROUP BY path
ORDER BY page_views DESC, path
LIMIT {limit:UInt32}
