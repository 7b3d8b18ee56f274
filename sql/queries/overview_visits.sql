-- How much happened in a period and in the one before, by day, and with what and from where sessions
-- came: one pass. `kind` says which columns of a row count: `total` and `day` are of both periods
-- (`is_now`), days are those of a time zone; browser, device_type and country are of the later period,
-- most sessions first, 100 rows each at most. Start inclusive, end exclusive, to the millisecond:
-- quarters of an hour that an edge cuts are counted from their events.
WITH
    fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC') AS before_start,
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end,
    arrayMap(
        edge -> toStartOfFifteenMinutes(edge),
        arrayFilter(
            edge -> toDateTime64(toStartOfFifteenMinutes(edge), 3, 'UTC') != edge,
            [before_start, period_start, period_end]
        )
    ) AS cut_quarters
SELECT
    multiIf(
        grouping(browser) = 0, 'browser',
        grouping(device_type) = 0, 'device_type',
        grouping(country) = 0, 'country',
        grouping(day) = 0, 'day',
        'total'
    ) AS kind,
    is_now,
    day,
    toString(browser) AS browser_name,
    toString(device_type) AS device_name,
    toString(country) AS country_name,
    toString(country_code) AS code,
    sum(event_count) AS events,
    sum(page_views) AS page_views,
    uniqExact(session_id) AS sessions,
    uniqExactIf(anonymous_id, anonymous_id != '') AS visitors
FROM (
    SELECT
        quarter >= period_start AS is_now,
        toDate(quarter, {timezone:String}) AS day,
        session_id, anonymous_id, browser, device_type, country, country_code,
        event_count, session_quarters.page_views AS page_views
    FROM session_quarters
    WHERE project_id = {project_id:String}
      AND quarter >= toStartOfFifteenMinutes(before_start) AND quarter < period_end
      AND indexOf(cut_quarters, quarter) = 0
    UNION ALL
    SELECT
        timestamp >= period_start AS is_now,
        toDate(timestamp, {timezone:String}) AS day,
        session_id, anonymous_id, browser, device_type, country, country_code,
        1 AS event_count, event_type = 'page_view' AS page_views
    FROM events FINAL
    WHERE project_id = {project_id:String}
      AND has(arrayMap(cut -> toDate(cut), cut_quarters), event_date)
      AND timestamp >= before_start AND timestamp < period_end
      AND has(cut_quarters, toStartOfFifteenMinutes(timestamp))
)
GROUP BY GROUPING SETS (
    (is_now), (is_now, day), (is_now, browser), (is_now, device_type),
    (is_now, country, country_code)
)
HAVING is_now OR kind IN ('total', 'day')
ORDER BY kind, is_now, day, sessions DESC, browser_name, device_name, country_name, code
LIMIT 100 BY kind, is_now, day
SETTINGS do_not_merge_across_partitions_select_final = 1
