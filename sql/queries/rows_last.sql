-- Ends of blocks whose rows are there but whose ledger entries are not, by partition.
SELECT source_topic, source_partition, max(source_block_last) AS block_last
FROM events
WHERE source_topic IN {topics:Array(String)}
  AND received_at >= now64(3) - INTERVAL 8 DAY
  AND arrayExists(
      (topic, number, first_offset) ->
          source_topic = topic AND source_partition = number AND source_offset >= first_offset,
      {topics:Array(String)}, {partitions:Array(UInt32)}, {firsts:Array(UInt64)}
  )
GROUP BY source_topic, source_partition
