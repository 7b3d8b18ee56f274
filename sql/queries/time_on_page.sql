-- How long visitors stay on each page, longest average first, also of days whose events have expired.
-- Of views that ended with an exit: how long others lasted is not in the aggregate, so ask top_pages or
-- pages_table while there are events.
-- Both days are included (UTC). Quantiles are estimates of a t-digest.
-- Source: the documents' third example query; view page_time_mv.
WITH quantilesTDigestMerge(0.5, 0.75, 0.95)(quantiles_time_on_page) AS quantiles_ms
SELECT
    path,
    avgMerge(avg_time_on_page) / 1000 AS avg_seconds,
    quantiles_ms[1] / 1000 AS median_seconds,
    quantiles_ms[2] / 1000 AS p75_seconds,
    quantiles_ms[3] / 1000 AS p95_seconds,
    min(min_time_on_page) / 1000 AS min_seconds,
    max(max_time_on_page) / 1000 AS max_seconds,
    sum(view_count) AS total_views
FROM page_time_mv
WHERE project_id = {project_id:String}
  AND date BETWEEN {first_day:Date} AND {last_day:Date}
GROUP BY path
ORDER BY avg_seconds DESC, path
LIMIT {limit:UInt32}
