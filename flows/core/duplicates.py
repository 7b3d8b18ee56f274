"""Which events of a block are new: the first of each (project, event id) counts.

In: chunks in log order and the ids that are already stored. Out: a keep flag per row. An event
and its repetition always have the same session, so ids are remembered by session, and a session
that is not in memory is looked up in the store, which holds all that can be repeated. A session
with more ids than memory may spend on one is never held: only the block's own ids are looked up.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Mapping

from flows.core.event_rows import EnrichedChunk

SessionKey = tuple[str, str]  # (project_id, session_id)

LARGE_SESSIONS_MAX = 10_000


class SeenEvents:
    """Event ids of the sessions seen last: `ids_max` at most, `session_ids_max` of one session.

    The least recently active sessions are forgotten first: forgetting costs a look-up, never a
    wrong answer.
    """

    def __init__(self, ids_max: int = 1_000_000, session_ids_max: int = 20_000) -> None:
        self._ids_max = ids_max
        self.session_ids_max = session_ids_max
        self._ids: OrderedDict[SessionKey, set[str]] = OrderedDict()
        self._large: OrderedDict[SessionKey, None] = OrderedDict()
        self._grown: set[SessionKey] = set()
        self._count = 0

    def unknown_sessions(self, chunks: Iterable[EnrichedChunk]) -> set[SessionKey]:
        """Sessions of these chunks whose stored ids must be loaded before `mark_new`."""
        keys = {
            (record.project_id, record.session_id) for chunk in chunks for record in chunk.records
        }
        return {key for key in keys if key not in self._ids and key not in self._large}

    def load(self, stored: Mapping[SessionKey, Collection[str]], sessions: set[SessionKey]) -> None:
        """Remember what the store holds of `sessions`; a session absent from `stored` is new.

        More than `session_ids_max` ids mean a session too large to hold, however many are given.
        """
        for key in sessions:
            ids = set(stored.get(key, ()))
            if len(ids) > self.session_ids_max:
                self._large[key] = None
            else:
                self._ids[key] = ids
                self._count += len(ids)

    def large_session_ids(
        self, chunks: Iterable[EnrichedChunk]
    ) -> Mapping[SessionKey, Collection[str]]:
        """Ids of these chunks in sessions too large to hold: ask which of them are stored."""
        found: dict[SessionKey, set[str]] = defaultdict(set)
        if self._large:
            for chunk in chunks:
                for record in chunk.records:
                    key = (record.project_id, record.session_id)
                    if key in self._large:
                        found[key].update(chunk.event_ids[record.row_first : record.row_end])
        return found

    def mark_new(
        self,
        chunks: Iterable[EnrichedChunk],
        stored_large: Mapping[SessionKey, Collection[str]] | None = None,
    ) -> list[list[bool]]:
        """Flag each row that is the first with its id, and remember it.

        `stored_large` says which of `large_session_ids` are stored.
        """
        of_large: dict[SessionKey, set[str]] = {
            key: set(ids) for key, ids in (stored_large or {}).items()
        }
        flags = []
        for chunk in chunks:
            keep = [False] * chunk.row_count
            for record in chunk.records:
                key = (record.project_id, record.session_id)
                is_large = key in self._large
                if is_large:
                    ids = of_large.setdefault(key, set())
                    self._large.move_to_end(key)
                else:
                    ids = self._ids[key]
                    self._ids.move_to_end(key)
                before = len(ids)
                for row in range(record.row_first, record.row_end):
                    event_id = chunk.event_ids[row]
                    if event_id not in ids:
                        ids.add(event_id)
                        keep[row] = True
                if not is_large:
                    self._count += len(ids) - before
                    if len(ids) > self.session_ids_max:
                        self._grown.add(key)
            flags.append(keep)
        return flags

    def forget_oldest(self) -> None:
        """Return to the bounds; call it between blocks, when what was marked is stored."""
        for key in self._grown:
            self._count -= len(self._ids.pop(key))
            self._large[key] = None
        self._grown.clear()
        while self._count > self._ids_max and self._ids:
            _key, ids = self._ids.popitem(last=False)
            self._count -= len(ids)
        while len(self._large) > LARGE_SESSIONS_MAX:
            self._large.popitem(last=False)
