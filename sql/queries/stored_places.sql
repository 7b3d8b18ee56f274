-- Which records of a block have rows; the times are bounds of the block's own rows.
SELECT source_topic, source_partition, source_offset, source_index
FROM events
WHERE source_topic IN {topics:Array(String)}
  AND event_date BETWEEN {from_day:Date} AND {to_day:Date}
  AND received_at BETWEEN {received_from:DateTime64(3, 'UTC')}
      AND {received_to:DateTime64(3, 'UTC')}
  AND arrayExists(
      (topic, number, first_offset, last_offset) ->
          source_topic = topic AND source_partition = number
          AND source_offset BETWEEN first_offset AND last_offset,
      {topics:Array(String)}, {partitions:Array(UInt32)}, {firsts:Array(UInt64)},
      {lasts:Array(UInt64)}
  )
