"""In-memory twins of the event store and the live counters, for tests and dry runs.

`MemoryEventStore` deduplicates inserts by token as ClickHouse does, and can be told to fail before
or after an insert took effect.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Literal

import pyarrow as pa

from connectors.errors import RetryableError
from connectors.event_store import BlockBounds, LedgerEntry, SessionKey
from connectors.kafka_log import Position
from connectors.live_counters import MINUTE_MS


class MemoryEventStore:
    """Twin of `ClickHouseEventStore`."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.ledger: list[LedgerEntry] = []
        self.tokens: dict[str, list[str]] = defaultdict(list)
        self.ends: dict[tuple[str, int], int] = {}
        self.failures: list[tuple[Literal["before", "after"], str]] = []

    def stored_event_ids(
        self, sessions: Iterable[SessionKey], since: date, before: BlockBounds
    ) -> Mapping[SessionKey, Sequence[str]]:
        """See `EventStore.stored_event_ids`."""
        wanted = set(sessions)
        found: dict[SessionKey, list[str]] = defaultdict(list)
        for row in self.rows:
            key = (row["project_id"], row["session_id"])
            is_own = (
                row["source_topic"] == before.topic
                and row["source_partition"] == before.partition
                and row["source_offset"] >= before.first_offset
            )
            if key in wanted and not is_own and row["timestamp"].date() >= since:
                found[key].append(row["event_id"])
        return found

    def page_view_counts(
        self, topic: str, partition: int, since_ms: int, before_offset: int
    ) -> Mapping[tuple[str, str, int], int]:
        """See `EventStore.page_view_counts`."""
        counts: Counter[tuple[str, str, int]] = Counter()
        for row in self.rows:
            received_ms = int(row["received_at"].timestamp() * 1000)
            if (
                row["event_type"] == "page_view"
                and (row["source_topic"], row["source_partition"]) == (topic, partition)
                and row["source_offset"] < before_offset
                and received_ms >= since_ms
            ):
                minute_ms = received_ms - received_ms % MINUTE_MS
                counts[row["project_id"], row["path"], minute_ms] += 1
        return counts

    def stored_position(self, topic: str, partition: int) -> Position | None:
        """See `EventStore.stored_position`."""
        next_offset = self.ends.get((topic, partition), -1) + 1
        unfinished = [
            row["source_block_last"]
            for row in self.rows
            if (row["source_topic"], row["source_partition"]) == (topic, partition)
            and row["source_offset"] >= next_offset
        ]
        if next_offset == 0 and not unfinished:
            return None
        return Position(next_offset, max(unfinished, default=None))

    def insert_events(self, rows: pa.Table, bounds: BlockBounds) -> None:
        """See `EventStore.insert_events`."""
        self._fail_if_told("before", "events")
        if rows.num_rows and bounds.token not in self.tokens["events"]:
            self.tokens["events"].append(bounds.token)
            self.rows += [
                {**row, "source_block_last": bounds.last_offset} for row in rows.to_pylist()
            ]
        self._fail_if_told("after", "events")

    def insert_ledger(self, entries: Sequence[LedgerEntry], bounds: BlockBounds) -> None:
        """See `EventStore.insert_ledger`."""
        self._fail_if_told("before", "ledger")
        if entries and bounds.token not in self.tokens["ledger"]:
            self.tokens["ledger"].append(bounds.token)
            self.ledger += entries
            key = (bounds.topic, bounds.partition)
            self.ends[key] = max(self.ends.get(key, -1), bounds.last_offset)
        self._fail_if_told("after", "ledger")

    def _fail_if_told(self, when: Literal["before", "after"], effect: str) -> None:
        if (when, effect) in self.failures:
            self.failures.remove((when, effect))
            raise RetryableError(f"the memory store was told to fail {when} {effect}")


class MemoryLiveCounters:
    """Twin of `RedisLiveCounters`."""

    def __init__(self) -> None:
        self.sessions: dict[tuple[str, int], set[str]] = defaultdict(set)
        self.page_views: dict[tuple[str, str, int], dict[str, int]] = defaultdict(dict)

    def put(
        self,
        sessions: Mapping[tuple[str, int], Iterable[str]],
        page_views: Mapping[tuple[str, str, int], int],
        source: str,
    ) -> None:
        """See `LiveCounters.put`."""
        for session_key, ids in sessions.items():
            self.sessions[session_key] |= set(ids)
        for view_key, count in page_views.items():
            self.page_views[view_key][source] = count
