"""Stored sessions, one after the other, as sessions and detectors take them.

In: a period of a project, or a session. Out: sessions with their events. Memory holds one piece of
ClickHouse's answer and one session; of a session that never ends only the first events are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from typing import NamedTuple

from clickhouse_connect.driver.client import Client

from connectors.stored_sessions import (
    SESSION_EVENTS_MAX,
    Period,
    Row,
    rows_of_period,
    rows_of_session,
)
from flows.core.session_bodies import BODY_KINDS
from flows.core.session_event import SessionBatch, SessionEvent
from flows.core.stored_events import STORED_COLUMNS, StoredReader

_SESSION = STORED_COLUMNS.index("session_id")
_session_of = itemgetter(_SESSION)


@dataclass(slots=True)
class ReadCounts:
    """What was read so far; `cut_sessions` had more than SESSION_EVENTS_MAX events."""

    sessions: int = 0
    events: int = 0
    cut_sessions: int = 0


Progress = Callable[[ReadCounts], None]


def read_sessions(
    client: Client, period: Period, counts: ReadCounts, on_session: Progress = lambda _: None
) -> Iterator[tuple[str, list[SessionEvent]]]:
    """Each session of the period, with its events of the types asked for.

    Events are in order of time. `counts` grows while it is read.

    Raises:
        ConnectorError: ClickHouse does not answer, or breaks off.
    """
    read = StoredReader().event
    for session_id, rows in groupby(_bounded(_all_rows(client, period), counts), _session_of):
        events = [read(row) for row in rows]
        counts.sessions += 1
        yield session_id, events
        on_session(counts)


class StoredSession(NamedTuple):
    """A session's batches, in the order of their receipt, and when the last event was stored.

    The time is in milliseconds by the store's clock. Of one that `is_cut` only the first events
    are there.
    """

    batches: tuple[SessionBatch, ...]
    stored_at_ms: int
    is_cut: bool

    @property
    def session_id(self) -> str:
        """Its id, as in every row."""
        return self.batches[0].session_id

    @property
    def event_count(self) -> int:
        """How many events there are."""
        return sum(len(batch.events) for batch in self.batches)


def read_stored(
    client: Client, period: Period, counts: ReadCounts, on_session: Progress = lambda _: None
) -> Iterator[StoredSession]:
    """The same as batches, and what else is known of how they were stored."""
    reader = StoredReader()
    for _, rows in groupby(_all_rows(client, period), _session_of):
        kept = list(islice(rows, SESSION_EVENTS_MAX + 1))
        is_cut = len(kept) > SESSION_EVENTS_MAX
        del kept[SESSION_EVENTS_MAX:]
        (batches,) = reader.sessions(kept)
        counts.sessions += 1
        counts.events += len(kept)
        counts.cut_sessions += is_cut
        yield StoredSession(batches, max(row[-1] for row in kept), is_cut)
        on_session(counts)


def read_batches(
    client: Client, period: Period, counts: ReadCounts, on_session: Progress = lambda _: None
) -> Iterator[tuple[SessionBatch, ...]]:
    """The same as batches alone, in the order of their receipt."""
    for session in read_stored(client, period, counts, on_session):
        yield session.batches


def read_session(client: Client, project_id: str, session_id: str) -> list[SessionEvent]:
    """All events of one session, in order of time; empty if none is stored."""
    read = StoredReader().event
    rows = rows_of_session(client, project_id, session_id, BODY_KINDS)
    return [read(row) for row in rows[:SESSION_EVENTS_MAX]]


def _all_rows(client: Client, period: Period) -> Iterator[Row]:
    wanted = frozenset(period.event_types)
    bodies = wanted.intersection(BODY_KINDS) if wanted else BODY_KINDS
    return rows_of_period(client, period, bodies)


def _bounded(rows: Iterable[Row], counts: ReadCounts) -> Iterator[Row]:
    session_id, taken = None, 0
    for row in rows:
        if row[_SESSION] != session_id:
            session_id, taken = row[_SESSION], 0
        taken += 1
        if taken <= SESSION_EVENTS_MAX:
            counts.events += 1
            yield row
        elif taken == SESSION_EVENTS_MAX + 1:
            counts.cut_sessions += 1
