-- why: what an erasure or export is about, while it lasts: deletions name this list, not the ids.
-- blocking: no
-- Texts of deletions stay in system.mutations; the ids of a person must not.
CREATE TABLE IF NOT EXISTS erasing_ids
(
    request_id UUID,
    project_id String,
    kind       LowCardinality(String), -- event, session, user, anonymous (all of it), shared.
    id         String
)
ENGINE = MergeTree
PARTITION BY request_id
ORDER BY (kind, id)
SETTINGS non_replicated_deduplication_window = 10000;
