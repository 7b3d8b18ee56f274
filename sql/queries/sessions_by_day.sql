-- Sessions per UTC day, oldest first; both days are included.
-- Counted again every minute from the sessions as last revised. Source: view sessions_daily_mv.
SELECT
    day,
    sum(session_count) AS sessions,
    sum(closed_sessions) AS closed,
    uniqMerge(user_count) AS users,
    uniqMerge(visitor_count) AS visitors,
    sum(total_duration_ms) AS duration_ms,
    sum(total_pages) AS pages,
    sum(error_sessions) AS with_error,
    sum(rage_click_sessions) AS with_rage_click,
    sum(dead_click_sessions) AS with_dead_click,
    sum(bounce_sessions) AS bounced,
    sum(converted_sessions) AS converted
FROM sessions_daily_mv FINAL
WHERE project_id = {project_id:String}
  AND day BETWEEN {first_day:Date} AND {last_day:Date}
GROUP BY day
HAVING sessions > 0
ORDER BY day
