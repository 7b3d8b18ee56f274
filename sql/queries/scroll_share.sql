-- Which share of the sessions that saw a page reached which part of it, in percent.
-- Both days are included (UTC); null instead of a division by zero.
-- Source: the documents' second example query; view scroll_depth_mv.
SELECT
    path,
    uniqMerge(total_sessions) AS sessions,
    100 * uniqMerge(reached_25) / nullIf(sessions, 0) AS pct_25,
    100 * uniqMerge(reached_50) / nullIf(sessions, 0) AS pct_50,
    100 * uniqMerge(reached_75) / nullIf(sessions, 0) AS pct_75,
    100 * uniqMerge(reached_90) / nullIf(sessions, 0) AS pct_90,
    100 * uniqMerge(reached_100) / nullIf(sessions, 0) AS pct_100
FROM scroll_depth_mv
WHERE project_id = {project_id:String}
  AND date BETWEEN {first_day:Date} AND {last_day:Date}
GROUP BY path
ORDER BY pct_100 DESC, path
LIMIT {limit:UInt32}
