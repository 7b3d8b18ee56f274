-- With what and from where the sessions of a period came, most sessions first: one pass for browsers,
-- devices and countries. `kind` says which columns of a row count; each kind has 100 rows at most.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    multiIf(
        grouping(browser) = 0, 'browser', grouping(device_type) = 0, 'device_type', 'country'
    ) AS kind,
    toString(browser) AS browser_name,
    toString(device_type) AS device_name,
    toString(country) AS country_name,
    toString(country_code) AS code,
    uniqExact(session_id) AS sessions,
    uniqExactIf(anonymous_id, anonymous_id != '') AS visitors
FROM events FINAL
WHERE project_id = {project_id:String}
  AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
  AND timestamp >= period_start AND timestamp < period_end
GROUP BY GROUPING SETS ((browser), (device_type), (country, country_code))
ORDER BY kind, sessions DESC, browser_name, device_name, country_name, code
LIMIT 100 BY kind
SETTINGS do_not_merge_across_partitions_select_final = 1
