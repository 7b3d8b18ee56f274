-- why: how far each Kafka partition has been written, so that a restarted flow skips what is stored.
-- blocking: no

-- No time limit here: a partition that was quiet for longer than the entries live keeps its position.
CREATE TABLE IF NOT EXISTS flow_positions (
    source_topic      LowCardinality(String),
    source_partition  UInt32,
    next_offset       SimpleAggregateFunction(max, UInt64)
)
ENGINE = AggregatingMergeTree
ORDER BY (source_topic, source_partition)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS flow_positions_mv TO flow_positions AS
SELECT
    source_topic,
    source_partition,
    max(block_last) + 1 AS next_offset
FROM ledger_entries
GROUP BY source_topic, source_partition;
