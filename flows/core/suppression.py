"""Leaving out what belongs to erased visitors and deleted projects.

In: chunks of rows, batches of sessions, and what was erased. Out: which rows of a chunk are left
out; batches, sessions and insights without theirs. Rows and batches of the same events are treated
alike. Projects of which nothing was erased cost one look-up a record. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from math import inf
from typing import NamedTuple

import msgspec
import pyarrow as pa

from flows.core.event_rows import EnrichedChunk, RecordFacts
from flows.core.insight import Insight
from flows.core.results import ResultChunk
from flows.core.session_event import SessionBatch
from flows.core.session_row import SessionRow
from schemas.erasure import Erased, ErasedOfProject, LateRows


def suppressed_rows(chunk: EnrichedChunk, erased: Erased) -> set[int]:
    """Rows of events that must not be stored."""
    found: set[int] = set()
    said: _Said | None = None
    for record in chunk.records:
        if record.project_id in erased.projects:
            found.update(range(record.row_first, record.row_end))
        else:
            of_project = erased.visitors.get(record.project_id)
            if of_project is not None:
                said = said or _said(chunk)
                found.update(_rows_of_visitors(said, record, of_project))
    return found


def without_suppressed(
    chunks: Sequence[EnrichedChunk], kept: Sequence[Sequence[bool]], erased: Erased
) -> tuple[Sequence[Sequence[bool]], Sequence[Set[int]]]:
    """The flags without rows that are left out, and by chunk the new rows that were."""
    if not erased:
        return kept, [frozenset()] * len(chunks)
    flags: list[Sequence[bool]] = []
    left_out: list[Set[int]] = []
    for chunk, keep in zip(chunks, kept, strict=True):
        rows = {row for row in suppressed_rows(chunk, erased) if keep[row]}
        left_out.append(rows)
        flags.append([flag and row not in rows for row, flag in enumerate(keep)] if rows else keep)
    return flags, left_out


def late_events(
    chunks: Sequence[EnrichedChunk], kept: Sequence[Sequence[bool]], erased: Erased
) -> list[LateRows]:
    """Of events that were stored those that must not be."""
    found: dict[str, list[str]] = {}
    for chunk, keep in zip(chunks, kept, strict=True):
        rows = suppressed_rows(chunk, erased)
        for record in chunk.records if rows else ():
            for row in range(record.row_first, record.row_end):
                if row in rows and keep[row]:
                    found.setdefault(record.project_id, []).append(chunk.event_ids[row])
    return [LateRows(project_id, events=tuple(ids)) for project_id, ids in sorted(found.items())]


def late_results(chunks: Sequence[ResultChunk], erased: Erased) -> list[LateRows]:
    """Of results that were stored the sessions of those that must not be."""
    found: dict[str, set[str]] = {}
    for chunk in chunks:
        for row in chunk.sessions:
            if is_erased_session(row, erased):
                found.setdefault(row.project_id, set()).add(row.session_id)
        for insight in chunk.insights:
            if is_erased_insight(insight, erased):
                found.setdefault(insight.project_id, set()).add(insight.session_id)
    return [
        LateRows(project_id, sessions=tuple(sorted(ids)))
        for project_id, ids in sorted(found.items())
    ]


def without_erased(chunk: ResultChunk, erased: Erased) -> ResultChunk:
    """A chunk of results without those of erased visitors and deleted projects."""
    if not erased:
        return chunk
    return replace(
        chunk,
        sessions=[row for row in chunk.sessions if not is_erased_session(row, erased)],
        insights=[found for found in chunk.insights if not is_erased_insight(found, erased)],
        previews=[found for found in chunk.previews if not is_erased_insight(found, erased)],
    )


class _Said(NamedTuple):
    """Whose events a chunk's rows are, and when they happened."""

    user_ids: Sequence[str]
    anonymous_ids: Sequence[str]
    at_ms: Sequence[int]


def _said(chunk: EnrichedChunk) -> _Said:
    table = chunk.table
    at_ms = table["timestamp"].cast(pa.int64()).to_pylist()
    return _Said(table["user_id"].to_pylist(), table["anonymous_id"].to_pylist(), at_ms)


def _rows_of_visitors(said: _Said, record: RecordFacts, erased: ErasedOfProject) -> Iterator[int]:
    ends = _Ends(erased, record.session_id)
    for row in range(record.row_first, record.row_end):
        if said.at_ms[row] <= ends.of(said.user_ids[row], said.anonymous_ids[row]):
            yield row


def without_suppressed_events(batch: SessionBatch, erased: Erased) -> SessionBatch:
    """A batch without the events that are not stored; the same one if that is none."""
    if batch.project_id in erased.projects:
        return msgspec.structs.replace(batch, events=())
    of_project = erased.visitors.get(batch.project_id)
    if of_project is None:
        return batch
    ends = _Ends(of_project, batch.session_id)
    kept = tuple(
        event
        for event in batch.events
        if event.at_ms > ends.of(event.visitor.user_id, event.visitor.anonymous_id)
    )
    return batch if len(kept) == len(batch.events) else msgspec.structs.replace(batch, events=kept)


def is_erased_session(row: SessionRow, erased: Erased) -> bool:
    """Whether a revision of a session must not be stored."""
    if row.project_id in erased.projects:
        return True
    of_project = erased.visitors.get(row.project_id)
    if of_project is None:
        return False
    until_ms = of_project.until_ms(row.user_id, row.anonymous_id)
    return of_project.has_session(row.session_id) or (
        until_ms is not None and row.started_at_ms <= until_ms
    )


def is_erased_insight(insight: Insight, erased: Erased) -> bool:
    """Whether an insight must not be stored."""
    of_project = erased.visitors.get(insight.project_id)
    return insight.project_id in erased.projects or (
        of_project is not None and of_project.has_session(insight.session_id)
    )


class _Ends:
    """Until when events of one session are left out, by who they say they are of."""

    def __init__(self, erased: ErasedOfProject, session_id: str) -> None:
        self._erased = erased
        self._is_erased_session = erased.has_session(session_id)
        self._found: dict[tuple[str, str], float] = {}

    def of(self, user_id: str, anonymous_id: str) -> float:
        """The last moment, in ms, of events that are left out; endless either way."""
        key = user_id, anonymous_id
        if key not in self._found:
            until_ms = self._erased.until_ms(user_id, anonymous_id)
            # The rest of an erased session is the same visitor's, unless it says to be another
            # user.
            is_rest = self._is_erased_session and (until_ms is not None or not user_id)
            self._found[key] = inf if is_rest else -inf if until_ms is None else until_ms
        return self._found[key]
