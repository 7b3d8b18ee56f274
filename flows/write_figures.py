"""Figures of writing, for every flow: when it last wrote, and what it is busy with."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

BLOCK_AGE = Gauge(
    "gosight_flow_event_lag_seconds", "Age, at storing, of the newest record stored.", ["flow"]
)
WRITING_SINCE = Gauge(
    "gosight_flow_writing_since_timestamp_seconds",
    "When the block that is being written was begun; 0 while none is.",
    ["flow"],
)
BLOCK_ROWS = Histogram(
    "gosight_flow_block_rows",
    "Rows of a written block.",
    ["flow"],
    buckets=(1, 10, 100, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000),
)
BLOCK_SECONDS = Histogram(
    "gosight_flow_block_duration_seconds", "Time to write a block, retries included.", ["flow"]
)
DEAD_LETTERS = Counter(
    "gosight_flow_dead_letters_total", "Records set aside because they cannot be read.", ["flow"]
)
LAST_COMMIT = Gauge(
    "gosight_flow_last_commit_timestamp_seconds", "When a block was last completed.", ["flow"]
)
