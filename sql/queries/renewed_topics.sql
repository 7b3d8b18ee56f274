-- Ids of the Kafka topics that were made anew and adopted, as of the last time each was.
SELECT argMax(topic_id, noted_at) AS topic_id
FROM source_topics
WHERE startsWith(source_topic, {lost:String})
GROUP BY source_topic
ORDER BY source_topic
