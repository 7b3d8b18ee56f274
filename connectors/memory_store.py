"""In-memory twins of the event store and the live counters, for tests and dry runs.

`MemoryEventStore` deduplicates inserts by token as ClickHouse does, and can be told to fail before
or after an insert took effect.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from datetime import date
from typing import Any, Literal

import pyarrow as pa

from connectors.errors import RetryableError
from connectors.event_store import LedgerEntry, Place, SessionKey
from connectors.kafka_log import BlockName, Part
from connectors.live_counters import MINUTE_MS

# "between" the table and its views; "late": without an answer, and inserted some time after.
When = Literal["before", "between", "after", "late"]


class MemoryEventStore:
    """Twin of `ClickHouseEventStore`."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.ledger: list[LedgerEntry] = []
        self.tokens: dict[str, list[str]] = defaultdict(list)
        self.ends: dict[Part, int] = {}
        self.views: Counter[str] = Counter()  # Stands for every view: how often it saw an id.
        self.topics: dict[str, str] = {}
        self.running: list[tuple[pa.Table, str]] = []
        self.has_forgotten = False
        self.failures: list[tuple[When, str]] = []

    def stored_event_ids(
        self, sessions: Iterable[SessionKey], since: date, before: BlockName, ids_max: int
    ) -> Mapping[SessionKey, Sequence[str]]:
        """See `EventStore.stored_event_ids`."""
        found = self._stored(set(sessions), since, before)
        return {key: ids[: ids_max + 1] for key, ids in found.items()}

    def stored_among(
        self, event_ids: Mapping[SessionKey, Collection[str]], since: date, before: BlockName
    ) -> Mapping[SessionKey, Sequence[str]]:
        """See `EventStore.stored_among`."""
        found = self._stored(set(event_ids), since, before)
        among = {key: [i for i in ids if i in event_ids[key]] for key, ids in found.items()}
        return {key: ids for key, ids in among.items() if ids}

    def _stored(
        self, wanted: set[SessionKey], since: date, before: BlockName
    ) -> dict[SessionKey, list[str]]:
        found: dict[SessionKey, list[str]] = defaultdict(list)
        firsts = {span.part: span.first_offset for span in before.spans}
        for row in self.rows:
            key = (row["project_id"], row["session_id"])
            first = firsts.get((row["source_topic"], row["source_partition"]))
            is_own = first is not None and row["source_offset"] >= first
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

    def stored_ends(self, parts: Sequence[Part]) -> Mapping[Part, int]:
        """See `EventStore.stored_ends`."""
        return {part: self.ends[part] + 1 for part in parts if part in self.ends}

    def rows_last(self, ends: Mapping[Part, int]) -> Mapping[Part, int]:
        """See `EventStore.rows_last`."""
        found: dict[Part, int] = {}
        for row in self.rows:
            part = (row["source_topic"], row["source_partition"])
            if part in ends and row["source_offset"] >= ends[part]:
                found[part] = max(found.get(part, -1), row["source_block_last"])
        return found

    def stored_places(self, block: BlockName, rows: pa.Table) -> Set[Place]:
        """See `EventStore.stored_places`."""
        ends = {span.part: (span.first_offset, span.last_offset) for span in block.spans}
        places = {
            (r["source_topic"], r["source_partition"], r["source_offset"], r["source_index"])
            for r in self.rows
        }
        return {
            place
            for place in places
            if place[:2] in ends and ends[place[:2]][0] <= place[2] <= ends[place[:2]][1]
        }

    def is_remembered(self, at_ms: int) -> bool:
        """See `EventStore.is_remembered`."""
        return not self.has_forgotten

    def forget_tokens(self) -> None:
        """As if 10,000 blocks had been written by others."""
        self.tokens.clear()
        self.has_forgotten = True

    def insert_events(self, rows: pa.Table, token: str) -> None:
        """See `EventStore.insert_events`."""
        self._fail_if_told("before", "events")
        if ("late", "events") in self.failures:
            self.failures.remove(("late", "events"))
            self.running.append((rows, token))
            raise RetryableError("the memory store was told to answer before it has inserted")
        self._insert(rows, token)
        self.run_late_inserts()
        self._fail_if_told("after", "events")

    def run_late_inserts(self) -> None:
        """Let inserts go on whose client did not wait for them."""
        while self.running:
            self._insert(*self.running.pop())

    def _insert(self, rows: pa.Table, token: str) -> None:
        found = rows.to_pylist()
        if found and token not in self.tokens["events"]:
            self.tokens["events"].append(token)
            self.rows += found
        self._fail_if_told("between", "events")
        if found and token not in self.tokens["views"]:
            self.tokens["views"].append(token)
            self.views.update(row["event_id"] for row in found)

    def insert_ledger(self, entries: Sequence[LedgerEntry], token: str) -> None:
        """See `EventStore.insert_ledger`."""
        self._fail_if_told("before", "ledger")
        if entries and token not in self.tokens["ledger"]:
            self.tokens["ledger"].append(token)
            self.ledger += entries
            for entry in entries:
                part = entry.span.part
                self.ends[part] = max(self.ends.get(part, -1), entry.span.last_offset)
        self._fail_if_told("after", "ledger")

    def topic_ids(self, names: Iterable[str]) -> Mapping[str, str]:
        """See `EventStore.topic_ids`."""
        return {name: self.topics[name] for name in names if name in self.topics}

    def note_topic_ids(self, ids: Mapping[str, str]) -> None:
        """See `EventStore.note_topic_ids`."""
        self.topics.update(ids)

    def _fail_if_told(self, when: When, effect: str) -> None:
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
