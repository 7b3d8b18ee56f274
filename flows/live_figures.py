"""Live figures of the last minutes, as absolute values per source partition.

In: chunks of one partition and their kept rows. Out: sessions and page-view counts of minutes that
are still live. Counts of the minutes before a restart are read back from the store once per
partition, so that an absolute value never goes back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from connectors.errors import ConnectorError
from connectors.event_store import EventStore
from connectors.kafka_log import Part
from connectors.live_counters import LiveCounters
from connectors.telemetry import get_logger
from flows.core.event_rows import MINUTE_MS, EnrichedChunk, minute_of

LIVE_MINUTES = 5
PageMinute = tuple[str, str, int]


class LiveFigures:
    """Counts of the live minutes of the partitions that this process writes."""

    def __init__(self, store: EventStore, live: LiveCounters) -> None:
        self._store = store
        self._live = live
        self._counts: dict[Part, dict[PageMinute, int]] = {}

    def put(
        self, chunks: Sequence[EnrichedChunk], kept: Sequence[Sequence[bool]], now_ms: int
    ) -> None:
        """Write the figures of one partition's minutes that are still live; never raises."""
        oldest_ms = minute_of(now_ms) - LIVE_MINUTES * MINUTE_MS
        sessions: dict[tuple[str, int], set[str]] = defaultdict(set)
        for chunk in chunks:
            for record in chunk.records:
                if record.minute_ms >= oldest_ms:
                    sessions[record.project_id, record.minute_ms].add(record.session_id)
        if not sessions:
            return
        first = chunks[0]
        counts = self._partition_counts(first, oldest_ms)
        changed: dict[PageMinute, int] = {}
        for chunk, keep in zip(chunks, kept, strict=True):
            for view in chunk.page_views:
                if keep[view.row] and view.minute_ms >= oldest_ms:
                    key = (view.project_id, view.path, view.minute_ms)
                    counts[key] = changed[key] = counts.get(key, 0) + 1
        self._live.put(sessions, changed, str(first.partition))

    def forget(self, parts: Iterable[Part]) -> None:
        """Another process may go on counting these partitions."""
        for part in parts:
            self._counts.pop(part, None)

    def _partition_counts(self, first: EnrichedChunk, oldest_ms: int) -> dict[PageMinute, int]:
        part = (first.topic, first.partition)
        known = self._counts.get(part)
        if known is None:
            known = self._load(first, oldest_ms)
        live = {key: count for key, count in known.items() if key[2] >= oldest_ms}
        self._counts[part] = live
        return live

    def _load(self, first: EnrichedChunk, oldest_ms: int) -> dict[PageMinute, int]:
        """What the store holds from before these chunks."""
        try:
            return dict(
                self._store.page_view_counts(
                    first.topic, first.partition, oldest_ms, first.first_offset
                )
            )
        except ConnectorError as error:
            get_logger().warning("live_counts_not_loaded", detail=str(error))
            return {}
