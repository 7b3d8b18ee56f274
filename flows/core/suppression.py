"""Leaving out what belongs to erased visitors and deleted projects.

In: chunks of rows and what was erased. Out: which rows of a chunk are left out; sessions and
insights without theirs. Projects of which nothing was erased cost one look-up a record. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import replace

from flows.core.event_rows import EnrichedChunk, RecordFacts
from flows.core.insight import Insight
from flows.core.results import ResultChunk
from flows.core.session_row import SessionRow
from schemas.erasure import Erased, ErasedOfProject


def suppressed_rows(chunk: EnrichedChunk, erased: Erased) -> set[int]:
    """Rows of events that must not be stored."""
    found: set[int] = set()
    for record in chunk.records:
        if record.project_id in erased.projects:
            found.update(range(record.row_first, record.row_end))
        else:
            of_project = erased.visitors.get(record.project_id)
            if of_project is not None:
                found.update(_rows_of_visitors(chunk, record, of_project))
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


def _rows_of_visitors(
    chunk: EnrichedChunk, record: RecordFacts, erased: ErasedOfProject
) -> Iterator[int]:
    is_erased_session = erased.has_session(record.session_id)
    visitors, at_ms = chunk.columns.visitors, chunk.columns.timestamps_ms
    until_of: dict[int, tuple[int | None, bool]] = {}
    for row in range(record.row_first, record.row_end):
        place = visitors.index[row]
        if place not in until_of:
            user_id, anonymous_id = visitors.value_at(place)[:2]
            until_of[place] = erased.until_ms(user_id, anonymous_id), bool(user_id)
        until_ms, is_user = until_of[place]
        is_before = until_ms is not None and at_ms[row] <= until_ms
        # The rest of an erased session is the same visitor's, unless it says to be another user.
        is_rest = is_erased_session and (until_ms is not None or not is_user)
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
