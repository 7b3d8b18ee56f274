"""Where a storage block goes: event rows, ledger entries, and what is already there.

`EventStore` is the contract, `ClickHouseEventStore` the real one; its in-memory twin is in
`connectors.memory_store`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Protocol

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from connectors.clickhouse import insert_arrow, query_rows
from connectors.kafka_log import Position
from sql.loader import load_query

SESSIONS_PER_QUERY = 2_000


@dataclass(frozen=True, slots=True)
class BlockBounds:
    """The records that one write covers; their token names the write for ever."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int

    @property
    def token(self) -> str:
        """The deduplication token: a function of the data's place in the log."""
        return f"{self.topic}:{self.partition}:{self.first_offset}-{self.last_offset}"


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """Events of one project and minute with one outcome, in one block."""

    project_id: str
    minute_ms: int
    outcome: str
    reason: str
    events: int


SessionKey = tuple[str, str]


class EventStore(Protocol):
    """What the storage flow writes to and asks."""

    def stored_event_ids(
        self, sessions: Iterable[SessionKey], since: date, before: BlockBounds
    ) -> Mapping[SessionKey, Sequence[str]]:
        """Ids stored for these sessions since a day of event time.

        Rows of the block itself and of later records of its partition are left out: they are
        what an interrupted write of this very block left behind.
        """

    def page_view_counts(
        self, topic: str, partition: int, since_ms: int, before_offset: int
    ) -> Mapping[tuple[str, str, int], int]:
        """Page views stored from one partition by (project, path, minute start in ms).

        Counts rows received since `since_ms` from records before `before_offset`.
        """

    def stored_position(self, topic: str, partition: int) -> Position | None:
        """After the last complete block of a partition; None if it has none.

        If rows of a block that is not complete are there, the position names that block's end.
        """

    def insert_events(self, rows: pa.Table, bounds: BlockBounds) -> None:
        """Store a block's rows once, however often it is called with equal bounds."""

    def insert_ledger(self, entries: Sequence[LedgerEntry], bounds: BlockBounds) -> None:
        """Store a block's ledger entries once, however often it is called with equal bounds."""


class ClickHouseEventStore:
    """Rows in `events`, entries in `ledger_entries`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def stored_event_ids(
        self, sessions: Iterable[SessionKey], since: date, before: BlockBounds
    ) -> Mapping[SessionKey, Sequence[str]]:
        """See `EventStore.stored_event_ids`."""
        wanted = sorted(sessions)
        found: dict[SessionKey, Sequence[str]] = {}
        for start in range(0, len(wanted), SESSIONS_PER_QUERY):
            part = wanted[start : start + SESSIONS_PER_QUERY]
            rows = query_rows(
                self._client,
                load_query("stored_event_ids"),
                {
                    "projects": sorted({project_id for project_id, _ in part}),
                    "sessions": [session_id for _, session_id in part],
                    "since": since,
                    "topic": before.topic,
                    "partition": before.partition,
                    "first_offset": before.first_offset,
                },
            )
            found.update({(project, session): ids for project, session, ids in rows})
        return found

    def page_view_counts(
        self, topic: str, partition: int, since_ms: int, before_offset: int
    ) -> Mapping[tuple[str, str, int], int]:
        """See `EventStore.page_view_counts`."""
        rows = query_rows(
            self._client,
            load_query("live_page_views"),
            {
                "topic": topic,
                "partition": partition,
                "since": datetime.fromtimestamp(since_ms / 1000, UTC),
                "before_offset": before_offset,
            },
        )
        return {
            (project, path, int(minute.timestamp() * 1000)): count
            for project, path, minute, count in rows
        }

    def stored_position(self, topic: str, partition: int) -> Position | None:
        """See `EventStore.stored_position`."""
        where = {"topic": topic, "partition": partition}
        (next_offset,) = query_rows(self._client, load_query("stored_position"), where)[0]
        (block_last,) = query_rows(
            self._client, load_query("unfinished_block"), {**where, "next_offset": next_offset}
        )[0]
        if next_offset == 0 and block_last is None:
            return None
        return Position(next_offset, block_last)

    def insert_events(self, rows: pa.Table, bounds: BlockBounds) -> None:
        """See `EventStore.insert_events`."""
        last = pa.repeat(pa.scalar(bounds.last_offset, pa.uint64()), rows.num_rows)
        insert_arrow(
            self._client, "events", rows.append_column("source_block_last", last), bounds.token
        )

    def insert_ledger(self, entries: Sequence[LedgerEntry], bounds: BlockBounds) -> None:
        """See `EventStore.insert_ledger`."""
        count = len(entries)
        small = pa.string()
        rows = pa.table(
            {
                "project_id": pa.array([entry.project_id for entry in entries], small),
                "minute": pa.array(
                    [entry.minute_ms // 1000 for entry in entries], pa.timestamp("s", tz="UTC")
                ),
                "outcome": pa.array([entry.outcome for entry in entries], small),
                "reason": pa.array([entry.reason for entry in entries], small),
                "events": pa.array([entry.events for entry in entries], pa.uint64()),
                "source_topic": pa.repeat(pa.scalar(bounds.topic), count),
                "source_partition": pa.repeat(pa.scalar(bounds.partition, pa.uint32()), count),
                "block_first": pa.repeat(pa.scalar(bounds.first_offset, pa.uint64()), count),
                "block_last": pa.repeat(pa.scalar(bounds.last_offset, pa.uint64()), count),
            }
        )
        insert_arrow(self._client, "ledger_entries", rows, bounds.token)
