-- why: a topic that was deleted and made anew begins at offset 0 again; only its id tells.
-- blocking: no

CREATE TABLE IF NOT EXISTS source_topics (
    source_topic  String,
    topic_id      String, -- As Kafka gives it, once for ever.
    noted_at      DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(noted_at)
ORDER BY source_topic;
