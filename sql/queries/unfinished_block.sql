-- End of a block whose rows are there but whose ledger entries are not; null if there is none.
SELECT if(count() = 0, NULL, max(source_block_last)) AS block_last
FROM events
WHERE source_topic = {topic:String}
  AND source_partition = {partition:UInt32}
  AND source_offset >= {next_offset:UInt64}
  AND received_at >= now64(3) - INTERVAL 8 DAY
