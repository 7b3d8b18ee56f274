-- The pages of a period, most viewed first: views, time, scrolling, exits and bounces.
-- The scroll depth is that of a session on the page; exits and bounces are of sessions that began in
-- the period. A trailing * of `path` means all pages below. How long a view lasted: see page_stays.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    page.path AS path,
    views,
    seen_sessions AS sessions,
    stayed.avg_seconds AS avg_seconds,
    stayed.median_seconds AS median_seconds,
    stayed.p75_seconds AS p75_seconds,
    scroll_reach,
    ended.exits AS exits,
    begun.entries AS entries,
    if(begun.closed = 0, NULL, round(100 * begun.bounces / begun.closed, 1)) AS bounce_rate
FROM (
    SELECT
        path,
        sum(session_views) AS views,
        count() AS seen_sessions,
        avg(depth) AS scroll_reach
    FROM (
        SELECT
            path,
            session_id,
            countIf(event_type = 'page_view') AS session_views,
            max(ifNull(scroll_depth, 0)) AS depth
        FROM events FINAL
        WHERE project_id = {project_id:String}
          AND event_type IN ('page_view', 'page_exit', 'scroll', 'scroll_milestone')
          AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
          AND timestamp >= period_start AND timestamp < period_end
          AND if(
              endsWith({path:String}, '*'),
              startsWith(path, substring({path:String}, 1, length({path:String}) - 1)),
              {path:String} = '' OR path = {path:String}
          )
        GROUP BY path, session_id
        HAVING session_views > 0
    )
    GROUP BY path
    ORDER BY views DESC, path
    LIMIT {limit:UInt32}
) AS page
LEFT JOIN (
    SELECT
        path,
        avg(time_ms) / 1000 AS avg_seconds,
        quantileExactInclusiveOrNull(0.5)(time_ms) / 1000 AS median_seconds,
        quantileExactInclusiveOrNull(0.75)(time_ms) / 1000 AS p75_seconds
    FROM page_stays(
        project_id = {project_id:String}, start_ms = {start_ms:Int64}, end_ms = {end_ms:Int64}
    )
    GROUP BY path
) AS stayed ON stayed.path = page.path
LEFT JOIN (
    SELECT exit_path, count() AS exits
    FROM sessions FINAL
    WHERE project_id = {project_id:String}
      AND started_at >= period_start AND started_at < period_end
    GROUP BY exit_path
) AS ended ON ended.exit_path = page.path
LEFT JOIN (
    SELECT
        entry_path,
        count() AS entries,
        countIf(is_closed) AS closed,
        countIf(is_closed AND is_bounce) AS bounces
    FROM sessions FINAL
    WHERE project_id = {project_id:String}
      AND started_at >= period_start AND started_at < period_end
    GROUP BY entry_path
) AS begun ON begun.entry_path = page.path
ORDER BY views DESC, path
SETTINGS do_not_merge_across_partitions_select_final = 1
