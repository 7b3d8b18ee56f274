-- Load times and web vitals per day of a time zone: mean, median, 75th and 95th percentile.
-- Milliseconds, but cls, which has no unit; no samples: a mean of null. Empty filters mean all.
-- `samples` are reports of performance, which need not come one to a page view.
WITH
    fromUnixTimestamp64Milli({start_ms:Int64}, 'UTC') AS period_start,
    fromUnixTimestamp64Milli({end_ms:Int64}, 'UTC') AS period_end
SELECT
    toDate(timestamp, {timezone:String}) AS day,
    count() AS samples,
    avg(lcp) AS avg_lcp,
    quantilesExactInclusive(0.5, 0.75, 0.95)(lcp) AS quantiles_lcp,
    avg(inp) AS avg_inp,
    quantilesExactInclusive(0.5, 0.75, 0.95)(inp) AS quantiles_inp,
    avg(cls) AS avg_cls,
    quantilesExactInclusive(0.5, 0.75, 0.95)(cls) AS quantiles_cls,
    avg(fcp) AS avg_fcp,
    quantilesExactInclusive(0.5, 0.75, 0.95)(fcp) AS quantiles_fcp,
    avg(ttfb) AS avg_ttfb,
    quantilesExactInclusive(0.5, 0.75, 0.95)(ttfb) AS quantiles_ttfb,
    avg(fid) AS avg_fid,
    quantilesExactInclusive(0.5, 0.75, 0.95)(fid) AS quantiles_fid,
    avg(load_complete) AS avg_load_complete,
    quantilesExactInclusive(0.5, 0.75, 0.95)(load_complete) AS quantiles_load_complete
FROM events FINAL
WHERE project_id = {project_id:String}
  AND event_type IN ('page_load', 'web_vitals')
  AND event_date BETWEEN toDate(period_start) AND toDate(period_end)
  AND timestamp >= period_start AND timestamp < period_end
  AND ({path:String} = '' OR path = {path:String})
  AND ({device_type:String} = '' OR device_type = {device_type:String})
GROUP BY day
ORDER BY day
SETTINGS do_not_merge_across_partitions_select_final = 1
