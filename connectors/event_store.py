"""Where a storage block goes: event rows, ledger entries, and what is already there.

`EventStore` is the contract, `ClickHouseEventStore` the real one; its in-memory twin is in
`connectors.memory_store`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc
from clickhouse_connect.driver.client import Client
from prometheus_client import Counter

from connectors.clickhouse import insert_arrow, query_rows
from connectors.kafka_log import BlockName, Part, Span
from sql.loader import load_query

# An event is at most 7 days old when it is received.
EVENT_AGE_MAX = timedelta(days=8)
SESSIONS_PER_QUERY = 2_000
SESSIONS_READ = Counter(
    "gosight_flow_sessions_read_total",
    "Sessions whose stored events were read because they were not in memory.",
)
# Between the clock of a flow's process and that of ClickHouse.
CLOCK_DIFFERENCE_MAX = timedelta(minutes=5)
# An insert makes a part, and a remembered token, for each month that its rows are of.
PARTS_PER_INSERT_MAX = 4
IDS_PER_QUERY = 4_000  # A query may have 256 KiB.


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """Events of one project and minute with one outcome, in one block's span."""

    span: Span
    project_id: str
    minute_ms: int
    outcome: str
    reason: str
    events: int


SessionKey = tuple[str, str]
Place = tuple[str, int, int, int]  # Topic, partition, offset, index within the record.


# Names what was stored from a topic that was deleted and made anew since.
LOST = "lost."


class EventStore(Protocol):
    """What the storage flow writes to and asks."""

    def stored_event_ids(
        self, sessions: Iterable[SessionKey], since: date, before: BlockName, ids_max: int
    ) -> Mapping[SessionKey, Sequence[str]]:
        """Ids stored for these sessions since a day of event time, `ids_max` + 1 of each at most.

        Rows of the block itself and of later records of its partitions are left out: they are
        what an interrupted write of this very block left behind.
        """

    def stored_among(
        self,
        event_ids: Mapping[SessionKey, Collection[str]],
        since: date,
        before: BlockName,
    ) -> Mapping[SessionKey, Sequence[str]]:
        """Those of the given ids that `stored_event_ids` would tell of without its bound."""

    def page_view_counts(
        self, topic: str, partition: int, since_ms: int, before_offset: int
    ) -> Mapping[tuple[str, str, int], int]:
        """Page views stored from one partition by (project, path, minute start in ms).

        Counts rows received since `since_ms` from records before `before_offset`.
        """

    def stored_ends(self, parts: Sequence[Part]) -> Mapping[Part, int]:
        """Offset after the last complete block of each partition; absent if it has none."""

    def rows_last(self, ends: Mapping[Part, int]) -> Mapping[Part, int]:
        """Where rows are stored at or after these offsets: the last offset of their block.

        Looks through the rows of the last days: only for positions that nothing else tells.
        """

    def stored_places(self, block: BlockName, rows: pa.Table) -> Set[Place]:
        """Which records of a block have rows; `rows` are those the block would write."""

    def is_remembered(self, at_ms: int) -> bool:
        """Whether a token used at this time is certainly remembered, in all tables and views."""

    def insert_events(self, rows: pa.Table, token: str) -> None:
        """Store rows once, however often it is called with equal tokens."""

    def insert_ledger(self, entries: Sequence[LedgerEntry], token: str) -> None:
        """Store entries once, however often it is called with equal tokens; see `stored_ends`."""

    def topic_ids(self, names: Iterable[str]) -> Mapping[str, str]:
        """Ids of the topics whose records are stored, as far as they were noted."""

    def note_topic_ids(self, ids: Mapping[str, str]) -> None:
        """Note the ids of topics whose records will be stored."""


def _spans_of(block: BlockName) -> dict[str, object]:
    return {
        "topics": [span.topic for span in block.spans],
        "partitions": [span.partition for span in block.spans],
        "firsts": [span.first_offset for span in block.spans],
        "lasts": [span.last_offset for span in block.spans],
    }


def _repeats(sessions: Sequence[SessionKey], since: date, before: BlockName) -> dict[str, object]:
    """Parameters that the queries for repetitions share."""
    return {
        "projects": sorted({project_id for project_id, _ in sessions}),
        "sessions": [session_id for _, session_id in sessions],
        "since": since,
        **_spans_of(before),
    }


class ClickHouseEventStore:
    """Rows in `events`, entries in `ledger_entries`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._renewed: str | None = None

    def stored_event_ids(
        self, sessions: Iterable[SessionKey], since: date, before: BlockName, ids_max: int
    ) -> Mapping[SessionKey, Sequence[str]]:
        """See `EventStore.stored_event_ids`."""
        wanted = sorted(sessions)
        SESSIONS_READ.inc(len(wanted))
        found: dict[SessionKey, Sequence[str]] = {}
        for start in range(0, len(wanted), SESSIONS_PER_QUERY):
            part = wanted[start : start + SESSIONS_PER_QUERY]
            where = _repeats(part, since, before)
            rows = query_rows(
                self._client, load_query("stored_event_ids"), {**where, "ids": ids_max + 1}
            )
            found.update({(project, session): ids for project, session, ids in rows})
        return found

    def stored_among(
        self, event_ids: Mapping[SessionKey, Collection[str]], since: date, before: BlockName
    ) -> Mapping[SessionKey, Sequence[str]]:
        """See `EventStore.stored_among`."""
        found: dict[SessionKey, Sequence[str]] = {}
        wanted = [(key, event_id) for key, ids in event_ids.items() for event_id in sorted(ids)]
        for start in range(0, len(wanted), IDS_PER_QUERY):
            part = wanted[start : start + IDS_PER_QUERY]
            where = _repeats(sorted({key for key, _ in part}), since, before)
            rows = query_rows(
                self._client,
                load_query("stored_among"),
                {**where, "event_ids": [event_id for _, event_id in part]},
            )
            for project, session, ids in rows:
                own = event_ids[project, session]
                among = [*found.get((project, session), ()), *(i for i in ids if i in own)]
                if among:
                    found[project, session] = among
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
                "since_day": datetime.fromtimestamp(since_ms / 1000, UTC).date() - EVENT_AGE_MAX,
                "before_offset": before_offset,
            },
        )
        return {
            (project, path, int(minute.timestamp() * 1000)): count
            for project, path, minute, count in rows
        }

    def stored_ends(self, parts: Sequence[Part]) -> Mapping[Part, int]:
        """See `EventStore.stored_ends`."""
        rows = query_rows(
            self._client,
            load_query("stored_ends"),
            {"topics": sorted({topic for topic, _ in parts})},
        )
        wanted = set(parts)
        return {(topic, n): end for topic, n, end in rows if (topic, n) in wanted}

    def rows_last(self, ends: Mapping[Part, int]) -> Mapping[Part, int]:
        """See `EventStore.rows_last`."""
        if not ends:
            return {}
        where = {
            "topics": [topic for topic, _ in ends],
            "partitions": [number for _, number in ends],
            "firsts": list(ends.values()),
        }
        rows = query_rows(self._client, load_query("rows_last"), where)
        return {(topic, number): last for topic, number, last in rows}

    def stored_places(self, block: BlockName, rows: pa.Table) -> Set[Place]:
        """See `EventStore.stored_places`."""
        if rows.num_rows == 0:
            return set()
        received = pc.min_max(rows["received_at"]).as_py()
        events = pc.min_max(rows["timestamp"]).as_py()
        where = {
            **_spans_of(block),
            "received_from": received["min"],
            "received_to": received["max"],
            "from_day": events["min"].date(),
            "to_day": events["max"].date(),
        }
        found = query_rows(self._client, load_query("stored_places"), where)
        return {(topic, partition, offset, index) for topic, partition, offset, index in found}

    def is_remembered(self, at_ms: int) -> bool:
        """See `EventStore.is_remembered`."""
        ((blocks, window),) = query_rows(
            self._client,
            load_query("blocks_since"),
            {"since": datetime.fromtimestamp(at_ms / 1000, UTC) - CLOCK_DIFFERENCE_MAX},
        )
        return bool(blocks * PARTS_PER_INSERT_MAX < window)

    def insert_events(self, rows: pa.Table, token: str) -> None:
        """See `EventStore.insert_events`."""
        insert_arrow(self._client, "events", rows, self._token(token))

    def insert_ledger(self, entries: Sequence[LedgerEntry], token: str) -> None:
        """See `EventStore.insert_ledger`."""
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
                "source_topic": pa.array([entry.span.topic for entry in entries], small),
                "source_partition": pa.array([e.span.partition for e in entries], pa.uint32()),
                "block_first": pa.array([e.span.first_offset for e in entries], pa.uint64()),
                "block_last": pa.array([e.span.last_offset for e in entries], pa.uint64()),
            }
        )
        insert_arrow(self._client, "ledger_entries", rows, self._token(token))

    def _token(self, token: str) -> str:
        """The token, of the topics as they are: blocks of lost ones had the same offsets.

        ClickHouse does not forget tokens for good: it reads them from its disk when it starts. So
        those of renewed topics are other ones. Nobody adopts topics while a process writes.
        """
        if self._renewed is None:
            found = query_rows(self._client, load_query("renewed_topics"), {"lost": LOST})
            self._renewed = " ".join(str(topic_id) for (topic_id,) in found)
        return f"{token} of {self._renewed}" if self._renewed else token

    def topic_ids(self, names: Iterable[str]) -> Mapping[str, str]:
        """See `EventStore.topic_ids`."""
        found = query_rows(self._client, load_query("topic_ids"), {"topics": sorted(names)})
        return {str(row[0]): str(row[1]) for row in found}

    def note_topic_ids(self, ids: Mapping[str, str]) -> None:
        """See `EventStore.note_topic_ids`."""
        rows = pa.table({"source_topic": list(ids), "topic_id": list(ids.values())})
        token = " ".join(f"{name}={found}" for name, found in sorted(ids.items()))
        insert_arrow(self._client, "source_topics", rows, token)
