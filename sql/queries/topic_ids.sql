-- Ids of the Kafka topics whose records are stored.
SELECT source_topic, argMax(topic_id, noted_at) AS topic_id
FROM source_topics
WHERE source_topic IN {topics:Array(String)}
GROUP BY source_topic
