-- why: load times and web vitals per page and day.
-- blocking: no

-- LCP, INP and CLS come with web_vitals, load times with page_load: both are read. A metric that an
-- event does not carry adds nothing to that metric.
-- Quantiles, in this order: 0.5, 0.75, 0.95.
CREATE TABLE IF NOT EXISTS page_performance (
    project_id               String,
    day                      Date,
    path                     String,
    device_type              LowCardinality(String),
    view_count               SimpleAggregateFunction(sum, UInt64), -- page_load events
    avg_lcp                  AggregateFunction(avg, UInt32),
    avg_fid                  AggregateFunction(avg, UInt32),
    avg_inp                  AggregateFunction(avg, UInt32),
    avg_cls                  AggregateFunction(avg, Float32),
    avg_ttfb                 AggregateFunction(avg, UInt32),
    avg_fcp                  AggregateFunction(avg, UInt32),
    avg_load_complete        AggregateFunction(avg, UInt32),
    quantiles_lcp            AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32),
    quantiles_fid            AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32),
    quantiles_inp            AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32),
    quantiles_cls            AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), Float32),
    quantiles_ttfb           AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32),
    quantiles_fcp            AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32),
    quantiles_load_complete  AggregateFunction(quantilesTDigest(0.5, 0.75, 0.95), UInt32)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (project_id, day, path, device_type)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS page_performance_mv TO page_performance AS
SELECT
    project_id,
    toDate(timestamp) AS day,
    path,
    device_type,
    countIf(event_type = 'page_load') AS view_count,
    avgStateIf(assumeNotNull(lcp), lcp IS NOT NULL) AS avg_lcp,
    avgStateIf(assumeNotNull(fid), fid IS NOT NULL) AS avg_fid,
    avgStateIf(assumeNotNull(inp), inp IS NOT NULL) AS avg_inp,
    avgStateIf(assumeNotNull(cls), cls IS NOT NULL) AS avg_cls,
    avgStateIf(assumeNotNull(ttfb), ttfb IS NOT NULL) AS avg_ttfb,
    avgStateIf(assumeNotNull(fcp), fcp IS NOT NULL) AS avg_fcp,
    avgStateIf(assumeNotNull(load_complete), load_complete IS NOT NULL) AS avg_load_complete,
    quantilesTDigestStateIf(0.5, 0.75, 0.95)(assumeNotNull(lcp), lcp IS NOT NULL) AS quantiles_lcp,
    quantilesTDigestStateIf(0.5, 0.75, 0.95)(assumeNotNull(fid), fid IS NOT NULL) AS quantiles_fid,
    quantilesTDigestStateIf(0.5, 0.75, 0.95)(assumeNotNull(inp), inp IS NOT NULL) AS quantiles_inp,
    quantilesTDigestStateIf(0.5, 0.75, 0.95)(assumeNotNull(cls), cls IS NOT NULL) AS quantiles_cls,
    quantilesTDigestStateIf(0.5, 0.75, 0.95)(assumeNotNull(ttfb), ttfb IS NOT NULL) AS quantiles_ttfb,
    quantilesTDigestStateIf(0.5, 0.75, 0.95)(assumeNotNull(fcp), fcp IS NOT NULL) AS quantiles_fcp,
    quantilesTDigestStateIf(0.5, 0.75, 0.95)(assumeNotNull(load_complete), load_complete IS NOT NULL)
        AS quantiles_load_complete
FROM events
WHERE event_type IN ('page_load', 'web_vitals')
GROUP BY project_id, day, path, device_type;
