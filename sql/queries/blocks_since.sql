-- Blocks completed since a time, and how many tokens the most forgetful table remembers.
SELECT
    (SELECT uniqExact(written_at) FROM ledger_entries
     WHERE written_at >= {since:DateTime64(3, 'UTC')}) AS blocks,
    (SELECT min(toUInt64(extract(engine_full, 'deduplication_window = (\\d+)')))
     FROM system.tables
     WHERE database = currentDatabase()
       AND match(engine_full, 'deduplication_window = \\d+')) AS window
