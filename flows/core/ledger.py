"""The ledger: every event received ends in exactly one outcome.

In: a block's chunks and which rows are kept. Out: entries whose `received` equals the sum of all
other outcomes, per project, minute of receipt and reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from typing import NamedTuple

from flows.core.event_rows import EnrichedChunk, minute_of
from schemas.reasons import DropReason, Outcome


class LedgerKey(NamedTuple):
    """What one count is about; `minute_ms` is the start of the minute of receipt."""

    project_id: str
    minute_ms: int
    outcome: Outcome
    reason: str


def block_ledger(
    chunks: Sequence[EnrichedChunk],
    kept: Sequence[Sequence[bool]],
    suppressed: Sequence[Set[int]] = (),
) -> Counter[LedgerKey]:
    """Count a block's events by outcome; `kept[i][row]` says whether chunk i's row is stored.

    `suppressed[i]` are rows of chunk i that were left out because their visitor was erased.

    `received` comes from the gateway's stamp, the outcomes from what was done with each event:
    the two sides are counted apart, so that a difference shows.
    """
    entries: Counter[LedgerKey] = Counter()

    def book(project_id: str, minute_ms: int, outcome: Outcome, events: int, reason: str) -> None:
        if events:
            entries[LedgerKey(project_id, minute_ms, outcome, reason)] += events

    left_out = suppressed or [frozenset()] * len(chunks)
    for chunk, keep, erased in zip(chunks, kept, left_out, strict=True):
        for record in chunk.records:
            stored = sum(keep[record.row_first : record.row_end])
            dropped = 0
            if erased:
                dropped = sum(record.row_first <= row < record.row_end for row in erased)
            duplicates = record.row_end - record.row_first - stored - dropped
            where = (record.project_id, record.minute_ms)
            book(*where, Outcome.RECEIVED, record.event_count, "")
            book(*where, Outcome.STORED, stored, "")
            book(*where, Outcome.DUPLICATE, duplicates, "")
            book(*where, Outcome.DROPPED, dropped, DropReason.SUPPRESSED)
        for poison in chunk.poisons:
            where = (poison.project_id, minute_of(poison.created_ms))
            book(*where, Outcome.RECEIVED, poison.event_count, "")
            book(*where, Outcome.REJECTED, poison.event_count, poison.reason)
        for refusal in chunk.refusals:
            where = (refusal.project_id, refusal.minute_ms)
            book(*where, Outcome.RECEIVED, refusal.event_count, "")
            book(*where, Outcome.REJECTED, refusal.event_count, refusal.reason)
    return entries
