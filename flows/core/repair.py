"""Sessions made again from their stored events, and what their rows and insights lack.

In: all batches of one session, its stored row and insights, and the detectors of its project. Out:
a `Repair`: the row as it should be, if it is not, and the insights that are missing. Insights that
are stored and would not be found by the rules of now stay, and count: a repair only adds. Made
twice, the second changes nothing. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from flows.core.backtest import findings_of
from flows.core.experience import InsightCounts
from flows.core.insight import Insight, insight_of
from flows.core.live_detectors import DetectorSet
from flows.core.session_event import SessionBatch, SessionEvent
from flows.core.session_row import SessionRow
from flows.core.session_run import in_order
from flows.core.sessionizer import SessionTotals, add_batch, session_row

# What events do not say: who wrote the row, and what other flows put into it.
_NOT_FROM_EVENTS = frozenset({"revision", "has_replay"})
FIRST_REVISION = 1


class StoredInsight(msgspec.Struct, frozen=True):
    """What is known of an insight that is in the store."""

    insight_id: str
    insight_type: str
    timestamp_ms: int
    first_event_id: str  # Of its evidence: mostly, not always, the one it is anchored at.


class Repair(msgspec.Struct, frozen=True):
    """What is to be written; `row` is None if the stored one is right.

    `differing` are the columns in which the stored row is wrong; all of them if there is none.
    """

    session_id: str
    row: SessionRow | None
    missing: tuple[Insight, ...]
    differing: tuple[str, ...]

    @property
    def is_needed(self) -> bool:
        """Whether anything is to be written."""
        return self.row is not None or bool(self.missing)


def repair_session(
    batches: Sequence[SessionBatch],
    stored_row: SessionRow | None,
    stored_insights: Iterable[StoredInsight],
    detectors: DetectorSet,
    *,
    currency: str = "",
) -> Repair:
    """Compare a session that is over with what its events say.

    `batches` hold all its events, in the order of receipt; at least one. `detectors` are all that
    are switched on, `currency` is the project's. A row's retention is no difference; whoever writes
    it may say another.
    """
    totals, events = _totals(batches)
    stored = {insight.insight_id: insight for insight in stored_insights}
    found = InsightCounts()
    missing: list[Insight] = []
    for findings in findings_of(detectors, in_order(events)).values():
        for finding in findings:
            insight = insight_of(finding, totals.project_id, totals.session_id)
            found = found.adding(
                insight.insight_type,
                insight.insight_id,
                insight.timestamp_ms,
                finding.anchor_event_id,
            )
            if stored.pop(insight.insight_id, None) is None:
                missing.append(insight)
    for other in stored.values():
        found = found.adding(
            other.insight_type, other.insight_id, other.timestamp_ms, other.first_event_id
        )
    row = session_row(
        totals,
        found,
        revision=FIRST_REVISION if stored_row is None else stored_row.revision + 1,
        is_closed=True,
        currency=currency,
        retain_days=max(batch.retain_days for batch in batches),
    )
    if stored_row is not None:
        row = msgspec.structs.replace(
            row,
            has_replay=stored_row.has_replay,
            retain_days=stored_row.retain_days,
        )
    differing = _differing(stored_row, row)
    return Repair(totals.session_id, row if differing else None, tuple(missing), differing)


def _totals(batches: Sequence[SessionBatch]) -> tuple[SessionTotals, list[SessionEvent]]:
    """The totals of all events, each counted once, by the first of its receipts."""
    totals: SessionTotals | None = None
    seen: dict[str, SessionEvent] = {}
    for batch in batches:
        fresh = {event.event_id: event for event in batch.events if event.event_id not in seen}
        seen.update(fresh)
        if fresh:
            totals = add_batch(totals, batch, tuple(fresh.values()))
    assert totals is not None, "a session has at least one event"
    return totals, list(seen.values())


def _differing(stored: SessionRow | None, row: SessionRow) -> tuple[str, ...]:
    names = [name for name in row.__struct_fields__ if name not in _NOT_FROM_EVENTS]
    if stored is None:
        return tuple(names)
    return tuple(name for name in names if not _same(getattr(stored, name), getattr(row, name)))


def _same(stored: Any, made: Any) -> bool:
    if isinstance(made, float) and isinstance(stored, float):
        return abs(stored - made) < 1e-6  # A 32-bit column gives back another last digit.
    return bool(stored == made)
