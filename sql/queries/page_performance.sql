-- Load times and web vitals per page: mean, 75th and 95th percentile; null without samples.
-- Milliseconds, but cls, which has no unit. Both days are included (UTC).
-- An empty device type means all. Source: view page_performance_mv.
SELECT
    path,
    views,
    if(isFinite(mean_lcp), mean_lcp, NULL) AS avg_lcp,
    if(isFinite(lcp[2]), lcp[2], NULL) AS p75_lcp,
    if(isFinite(lcp[3]), lcp[3], NULL) AS p95_lcp,
    if(isFinite(mean_inp), mean_inp, NULL) AS avg_inp,
    if(isFinite(inp[2]), inp[2], NULL) AS p75_inp,
    if(isFinite(inp[3]), inp[3], NULL) AS p95_inp,
    if(isFinite(mean_cls), mean_cls, NULL) AS avg_cls,
    if(isFinite(cls[2]), cls[2], NULL) AS p75_cls,
    if(isFinite(cls[3]), cls[3], NULL) AS p95_cls,
    if(isFinite(mean_fcp), mean_fcp, NULL) AS avg_fcp,
    if(isFinite(fcp[2]), fcp[2], NULL) AS p75_fcp,
    if(isFinite(fcp[3]), fcp[3], NULL) AS p95_fcp,
    if(isFinite(mean_ttfb), mean_ttfb, NULL) AS avg_ttfb,
    if(isFinite(ttfb[2]), ttfb[2], NULL) AS p75_ttfb,
    if(isFinite(ttfb[3]), ttfb[3], NULL) AS p95_ttfb,
    if(isFinite(mean_fid), mean_fid, NULL) AS avg_fid,
    if(isFinite(fid[2]), fid[2], NULL) AS p75_fid,
    if(isFinite(fid[3]), fid[3], NULL) AS p95_fid,
    if(isFinite(mean_load_complete), mean_load_complete, NULL) AS avg_load_complete,
    if(isFinite(load_complete[2]), load_complete[2], NULL) AS p75_load_complete,
    if(isFinite(load_complete[3]), load_complete[3], NULL) AS p95_load_complete
FROM (
    SELECT
        path,
        sum(view_count) AS views,
        avgMerge(avg_lcp) AS mean_lcp,
        quantilesTDigestMerge(0.5, 0.75, 0.95)(quantiles_lcp) AS lcp,
        avgMerge(avg_inp) AS mean_inp,
        quantilesTDigestMerge(0.5, 0.75, 0.95)(quantiles_inp) AS inp,
        avgMerge(avg_cls) AS mean_cls,
        quantilesTDigestMerge(0.5, 0.75, 0.95)(quantiles_cls) AS cls,
        avgMerge(avg_fcp) AS mean_fcp,
        quantilesTDigestMerge(0.5, 0.75, 0.95)(quantiles_fcp) AS fcp,
        avgMerge(avg_ttfb) AS mean_ttfb,
        quantilesTDigestMerge(0.5, 0.75, 0.95)(quantiles_ttfb) AS ttfb,
        avgMerge(avg_fid) AS mean_fid,
        quantilesTDigestMerge(0.5, 0.75, 0.95)(quantiles_fid) AS fid,
        avgMerge(avg_load_complete) AS mean_load_complete,
        quantilesTDigestMerge(0.5, 0.75, 0.95)(quantiles_load_complete) AS load_complete
    FROM page_performance_mv
    WHERE project_id = {project_id:String}
      AND day BETWEEN {first_day:Date} AND {last_day:Date}
      AND ({device_type:String} = '' OR device_type = {device_type:String})
    GROUP BY path
)
ORDER BY views DESC, path
LIMIT {limit:UInt32}
