-- why: what became of every event, written with the block that decided it:
--      received = stored + duplicate + rejected + dropped.
-- blocking: no

CREATE TABLE IF NOT EXISTS ledger_entries (
    project_id        String,
    minute            DateTime('UTC'), -- Of the time of receipt.
    outcome           LowCardinality(String), -- received, stored, duplicate, rejected, dropped
    reason            LowCardinality(String) DEFAULT '',
    events            UInt64,
    source_topic      LowCardinality(String),
    source_partition  UInt32,
    block_first       UInt64, -- Offsets of the block, both included.
    block_last        UInt64,
    written_at        DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (project_id, minute, outcome, reason)
TTL minute + toIntervalDay(30)
SETTINGS non_replicated_deduplication_window = 10000;
