-- Offset after the last complete block of each partition of some topics.
SELECT source_topic, source_partition, max(next_offset) AS next_offset
FROM flow_positions
WHERE source_topic IN {topics:Array(String)}
GROUP BY source_topic, source_partition
