-- why: what the detectors found, once per finding, with the events that prove it.
-- blocking: no

-- `insight_id` is derived from the detector and its first evidence, so a repeated or revised finding
-- has the same key and the highest revision stays. Source: detectors.md, section 1.3.
CREATE TABLE IF NOT EXISTS insights (
    insight_id         UUID,
    project_id         String,
    session_id         UUID,

    insight_type       LowCardinality(String),
    timestamp          DateTime64(3, 'UTC'), -- Of the visitor's action, not of the detection.
    ended_at           DateTime64(3, 'UTC'),

    url                String DEFAULT '',
    path               String DEFAULT '',
    x                  Nullable(Int32),
    y                  Nullable(Int32),
    target_selector    String DEFAULT '',

    severity           LowCardinality(String) DEFAULT '',
    detector_version   LowCardinality(String) DEFAULT '',
    details            String DEFAULT '{}' CODEC(ZSTD(3)),
    related_event_ids  Array(UUID),

    revision           UInt64 DEFAULT 1,
    retain_days        UInt32 DEFAULT 365,
    ingested_at        DateTime64(3, 'UTC') DEFAULT now64(3),

    insight_date       Date MATERIALIZED toDate(timestamp),

    INDEX session_id_bloom session_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(insight_date)
ORDER BY (project_id, insight_type, timestamp, insight_id)
TTL insight_date + toIntervalDay(least(if(retain_days = 0, 365, retain_days), 730))
SETTINGS non_replicated_deduplication_window = 10000;
