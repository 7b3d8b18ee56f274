-- why: the ledger per project and minute, kept as long as events may be.
-- blocking: no

CREATE TABLE IF NOT EXISTS ledger_minutes (
    project_id  String,
    minute      DateTime('UTC'),
    outcome     LowCardinality(String),
    reason      LowCardinality(String),
    events      UInt64
)
ENGINE = SummingMergeTree(events)
PARTITION BY toYYYYMM(minute)
ORDER BY (project_id, minute, outcome, reason)
TTL minute + toIntervalDay(730)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS ledger_minutes_mv TO ledger_minutes AS
SELECT
    project_id,
    minute,
    outcome,
    reason,
    sum(events) AS events
FROM ledger_entries
GROUP BY project_id, minute, outcome, reason;
