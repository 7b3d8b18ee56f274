-- why: a closed session also says what its score was lowered for, and how it seems to have felt.
-- blocking: no

-- All of it is set at closing and again after each reopening; until then it is empty.
ALTER TABLE sessions
    ADD COLUMN IF NOT EXISTS issues String DEFAULT '[]' CODEC(ZSTD(3)) AFTER experience_score,
    ADD COLUMN IF NOT EXISTS emotion LowCardinality(String) DEFAULT '' AFTER issues,
    ADD COLUMN IF NOT EXISTS emotion_confidence Float64 DEFAULT 0 AFTER emotion,
    ADD COLUMN IF NOT EXISTS emotion_event_id Nullable(UUID) AFTER emotion_confidence;
