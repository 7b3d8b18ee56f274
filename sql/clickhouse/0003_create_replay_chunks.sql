-- why: the pieces of session recordings that are still hot; a retried piece is kept once.
-- blocking: no

-- Source: replay.md, section 4 (columns) and 5 (30 days hot; older pieces move to the object store).
CREATE TABLE IF NOT EXISTS replay_chunks (
    session_id       UUID,
    project_id       String,
    chunk_index      UInt32, -- In order of writing within the session; not the playback order.

    timestamp_start  DateTime64(3, 'UTC'),
    timestamp_end    DateTime64(3, 'UTC'),

    data             String CODEC(NONE), -- A compressed JSON array of rrweb events, see `codec`.
    data_size        UInt32, -- Bytes before compression.
    compressed_size  UInt32 DEFAULT 0, -- Bytes of `data`.
    codec            LowCardinality(String) DEFAULT '', -- none, gzip, zstd
    checksum         String DEFAULT '', -- SHA-256 of `data`, hexadecimal.
    event_count      UInt32,
    has_snapshot     Bool DEFAULT false, -- Starts with a full snapshot.
    has_errors       Bool DEFAULT false,
    has_network      Bool DEFAULT false,

    recorder_id      String DEFAULT '', -- One per page load.
    seq_first        UInt32 DEFAULT 0, -- The recorder's first and last upload in this piece.
    seq_last         UInt32 DEFAULT 0,

    retain_days      UInt32 DEFAULT 30,
    ingested_at      DateTime64(3, 'UTC') DEFAULT now64(3),

    chunk_date       Date MATERIALIZED toDate(timestamp_start)
)
ENGINE = ReplacingMergeTree(ingested_at)
PARTITION BY toYYYYMM(chunk_date)
ORDER BY (project_id, session_id, chunk_index)
TTL chunk_date + toIntervalDay(least(if(retain_days = 0, 30, retain_days), 90))
SETTINGS non_replicated_deduplication_window = 10000;
