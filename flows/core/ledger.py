"""The ledger: every event received ends in exactly one outcome.

In: a block's chunks and which rows are kept. Out: entries whose `received` equals the sum of all
other outcomes, per project, minute of receipt and reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flows.core.event_rows import EnrichedChunk, minute_of
from schemas.reasons import Outcome


class LedgerKey(NamedTuple):
    """What one count is about; `minute_ms` is the start of the minute of receipt."""

    project_id: str
    minute_ms: int
    outcome: Outcome
    reason: str


def block_ledger(
    chunks: Iterable[EnrichedChunk], kept: Sequence[Sequence[bool]]
) -> Counter[LedgerKey]:
    """Count a block's events by outcome; `kept[i][row]` says whether chunk i's row is stored.

    `received` comes from the gateway's stamp, the outcomes from what was done with each event:
    the two sides are counted apart, so that a difference shows.
    """
    entries: Counter[LedgerKey] = Counter()

    def book(project_id: str, minute_ms: int, outcome: Outcome, events: int, reason: str) -> None:
        if events:
            entries[LedgerKey(project_id, minute_ms, outcome, reason)] += events

    for chunk, keep in zip(chunks, kept, strict=True):
        for record in chunk.records:
            stored = sum(keep[record.row_first : record.row_end])
            duplicates = record.row_end - record.row_first - stored
            where = (record.project_id, record.minute_ms)
            book(*where, Outcome.RECEIVED, record.event_count, "")
            book(*where, Outcome.STORED, stored, "")
            book(*where, Outcome.DUPLICATE, duplicates, "")
        for poison in chunk.poisons:
            where = (poison.project_id, minute_of(poison.created_ms))
            book(*where, Outcome.RECEIVED, poison.event_count, "")
            book(*where, Outcome.REJECTED, poison.event_count, poison.reason)
        for refusal in chunk.refusals:
            where = (refusal.project_id, refusal.minute_ms)
            book(*where, Outcome.RECEIVED, refusal.event_count, "")
            book(*where, Outcome.REJECTED, refusal.event_count, refusal.reason)
    return entries
