"""Which events of a block are new: the first of each (project, event id) counts.

In: chunks in log order and the ids that are already stored. Out: a keep flag per row. An event
and its repetition always have the same session, so ids are remembered by session, and a session
that is not in memory is looked up in the store, which holds all that can be repeated.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from flows.core.event_rows import EnrichedChunk

SessionKey = tuple[str, str]  # (project_id, session_id)


class SeenEvents:
    """Event ids of the sessions seen last, at most `ids_max` of them.

    The least recently active sessions are forgotten first: forgetting costs a look-up, never a
    wrong answer.
    """

    def __init__(self, ids_max: int = 1_000_000) -> None:
        self._ids_max = ids_max
        self._ids: OrderedDict[SessionKey, set[str]] = OrderedDict()
        self._count = 0

    def unknown_sessions(self, chunks: Iterable[EnrichedChunk]) -> set[SessionKey]:
        """Sessions of these chunks whose stored ids must be loaded before `mark_new`."""
        keys = {
            (record.project_id, record.session_id) for chunk in chunks for record in chunk.records
        }
        return {key for key in keys if key not in self._ids}

    def load(self, stored: Mapping[SessionKey, Iterable[str]], sessions: set[SessionKey]) -> None:
        """Remember what the store holds of `sessions`; a session absent from `stored` is new."""
        for key in sessions:
            ids = set(stored.get(key, ()))
            self._ids[key] = ids
            self._count += len(ids)

    def mark_new(self, chunks: Iterable[EnrichedChunk]) -> list[list[bool]]:
        """Flag each row that is the first with its id, and remember it."""
        flags = []
        for chunk in chunks:
            keep = [False] * chunk.row_count
            for record in chunk.records:
                key = (record.project_id, record.session_id)
                ids = self._ids[key]
                self._ids.move_to_end(key)
                before = len(ids)
                for row in range(record.row_first, record.row_end):
                    event_id = chunk.event_ids[row]
                    if event_id not in ids:
                        ids.add(event_id)
                        keep[row] = True
                self._count += len(ids) - before
            flags.append(keep)
        return flags

    def forget_oldest(self) -> None:
        """Return to the bound; call it between blocks."""
        while self._count > self._ids_max and self._ids:
            _key, ids = self._ids.popitem(last=False)
            self._count -= len(ids)
