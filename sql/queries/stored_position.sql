-- Offset after the last complete block of a partition; 0 if there is none.
SELECT max(next_offset) AS next_offset
FROM flow_positions
WHERE source_topic = {topic:String} AND source_partition = {partition:UInt32}
