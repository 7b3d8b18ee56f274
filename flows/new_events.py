"""Which events of a block are new, by what is remembered and what the store holds.

In: a block's name and chunks. Out: a keep flag per row. Joins `SeenEvents` and the `EventStore`:
one question a block for all its unknown sessions, one more if a session is too large to remember.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

from connectors.event_store import EVENT_AGE_MAX, EventStore
from connectors.kafka_log import BlockName
from flows.core.duplicates import SeenEvents
from flows.core.event_rows import EnrichedChunk


class NewEvents:
    """The memory of one writer; what leaves it must be forgotten (`forget`)."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._seen = SeenEvents()

    def mark(self, name: BlockName, chunks: Sequence[EnrichedChunk]) -> list[list[bool]]:
        """Flag the first of each event and remember it.

        Raises:
            RetryableError: the store does not answer; nothing is remembered yet, ask again.
        """
        if not any(chunk.records for chunk in chunks):
            return self._seen.mark_new(chunks)
        since = _first_day(chunks) - EVENT_AGE_MAX
        sessions = self._seen.unknown_sessions(chunks)
        if sessions:
            ids_max = self._seen.session_ids_max
            self._seen.load(self._store.stored_event_ids(sessions, since, name, ids_max), sessions)
        large = self._seen.large_session_ids(chunks)
        return self._seen.mark_new(
            chunks, self._store.stored_among(large, since, name) if large else None
        )

    def written(self) -> None:
        """What was marked is stored: memory may return to its bounds."""
        self._seen.forget_oldest()

    def forget(self) -> None:
        """Another process may write some of these sessions from now on: look all up again."""
        self._seen = SeenEvents()


def _first_day(chunks: Sequence[EnrichedChunk]) -> date:
    first_ms = min(record.minute_ms for chunk in chunks for record in chunk.records)
    return datetime.fromtimestamp(first_ms / 1000, UTC).date()
