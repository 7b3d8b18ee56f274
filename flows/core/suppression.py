"""Leaving out what belongs to erased visitors and deleted projects.

In: chunks of rows and what was erased. Out: which rows of a chunk are left out; sessions and
insights without theirs. Projects of which nothing was erased cost one look-up a record. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from typing import NamedTuple

import pyarrow as pa

from flows.core.event_rows import EnrichedChunk, RecordFacts
from flows.core.insight import Insight
from flows.core.results import ResultChunk
from flows.core.session_row import SessionRow
from schemas.erasure import Erased, ErasedOfProject


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


def without_erased(chunk: ResultChunk, erased: Erased) -> ResultChunk:
    """A chunk of results without those of erased visitors and deleted projects."""
    if not erased:
        return chunk
    return replace(
        chunk,
        sessions=[row for row in chunk.sessions if not _is_erased_session(row, erased)],
        insights=[found for found in chunk.insights if not _is_erased_insight(found, erased)],
        previews=[found for found in chunk.previews if not _is_erased_insight(found, erased)],
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
    is_erased_session = erased.has_session(record.session_id)
    until_of: dict[tuple[str, str], int | None] = {}
    for row in range(record.row_first, record.row_end):
        who = said.user_ids[row], said.anonymous_ids[row]
        if who not in until_of:
            until_of[who] = erased.until_ms(*who)
        until_ms = until_of[who]
        is_before = until_ms is not None and said.at_ms[row] <= until_ms
        # The rest of an erased session is the same visitor's, unless it says to be another user.
        is_rest = is_erased_session and (until_ms is not None or not who[0])
        if is_before or is_rest:
            yield row


def _is_erased_session(row: SessionRow, erased: Erased) -> bool:
    if row.project_id in erased.projects:
        return True
    of_project = erased.visitors.get(row.project_id)
    if of_project is None:
        return False
    until_ms = of_project.until_ms(row.user_id, row.anonymous_id)
    return of_project.has_session(row.session_id) or (
        until_ms is not None and row.started_at_ms <= until_ms
    )


def _is_erased_insight(insight: Insight, erased: Erased) -> bool:
    of_project = erased.visitors.get(insight.project_id)
    return insight.project_id in erased.projects or (
        of_project is not None and of_project.has_session(insight.session_id)
    )
