"""Sessions made again from their stored events, and what their rows and insights lack.

In: all batches of one session, its stored row and insights, and the detectors of its project. Out:
a `Repair`: the row as it should be, if it is not, and the insights that are missing. Insights that
are stored and would not be found by the rules of now stay, and count: a repair only adds. What is
found is stored already if an insight of its type shares an event of evidence with it: one that an
older rule found is not found a second time. Made twice, the second changes nothing. Pure.

Events, insights and rows are kept for different times. Where some may be gone, what is left says
nothing about the row, and the session is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from flows.core.backtest import findings_of
from flows.core.detector_set import DetectorSet
from flows.core.experience import InsightCounts
from flows.core.insight import Insight, insight_id, insight_of
from flows.core.session_event import SessionBatch, SessionEvent
from flows.core.session_row import SessionRow
from flows.core.session_run import in_order
from flows.core.session_totals import SessionTotals
from flows.core.sessionizer import add_batch, session_row
from schemas.records import EVENT_RETENTION_DAYS, RESULT_RETENTION_DAYS, RETENTION_DAYS_MAX

# What events do not say: who wrote the row, and what other flows put into it.
_NOT_FROM_EVENTS = frozenset({"revision", "has_replay"})
FIRST_REVISION = 1
DAY_MS = 86_400_000
# Insights of one anchor that are looked for; more are rare, and only their order depends on it.
ORDINALS_MAX = 8


class KeptDays(NamedTuple):
    """For how many days a project keeps its rows and insights; 0 is the table's default."""

    sessions: int = 0
    insights: int = 0


KEPT_BY_DEFAULT = KeptDays()


class StoredInsight(msgspec.Struct, frozen=True):
    """What is known of an insight that is in the store."""

    insight_id: str
    insight_type: str
    timestamp_ms: int
    detector_version: str
    related_event_ids: tuple[str, ...]


class Repair(msgspec.Struct, frozen=True):
    """What is to be written; `row` is None if the stored one is right.

    `differing` are the columns in which the stored row is wrong; all of them if there is none. If
    `is_gone`, nothing is: some of what the row was made of may no longer be stored.
    """

    session_id: str
    row: SessionRow | None
    missing: tuple[Insight, ...]
    differing: tuple[str, ...]
    is_gone: bool = False

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
    now_ms: int,
    kept: KeptDays = KEPT_BY_DEFAULT,
    currency: str = "",
) -> Repair:
    """Compare a session that is over with what its events say.

    `batches` hold all its events, in the order of receipt; at least one. `detectors` are all that
    are switched on, `kept` and `currency` are the project's. `now_ms` is the store's clock, by
    which it forgets. A row's retention is no difference; whoever writes it may say another.
    """
    totals, events = _totals(batches)
    if _is_gone(totals, stored_row, batches, kept, now_ms):
        return Repair(totals.session_id, None, (), (), is_gone=True)
    found, missing = _insights(totals, events, stored_insights, detectors)
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


def _is_gone(
    totals: SessionTotals,
    row: SessionRow | None,
    batches: Sequence[SessionBatch],
    kept: KeptDays,
    now_ms: int,
) -> bool:
    """Whether the session had events, insights or a row that may no longer be stored.

    A row that begins earlier or ends later than its events knows of others: they have expired, or
    are not stored yet. Rows of one day expire together, but not at once in all parts of a table.
    """
    first_ms = totals.started_at_ms
    if row is not None:
        if row.started_at_ms < first_ms or row.ended_at_ms > totals.ended_at_ms:
            return True
        first_ms = row.started_at_ms
    days = min(
        *(batch.retain_days or EVENT_RETENTION_DAYS for batch in batches),
        kept.sessions or RESULT_RETENTION_DAYS,
        kept.insights or RESULT_RETENTION_DAYS,
        RETENTION_DAYS_MAX,
    )
    return (first_ms // DAY_MS + days) * DAY_MS <= now_ms


def _insights(
    totals: SessionTotals,
    events: Sequence[SessionEvent],
    stored: Iterable[StoredInsight],
    detectors: DetectorSet,
) -> tuple[InsightCounts, list[Insight]]:
    """All insights, those that are stored and those that are missing; and the missing ones."""
    others = {insight.insight_id: insight for insight in stored}
    counts = InsightCounts()
    new: list[tuple[Insight, str]] = []  # With the event it is anchored at.
    for findings in findings_of(detectors, in_order(events)).values():
        for finding in findings:
            insight = insight_of(finding, totals.project_id, totals.session_id)
            anchor_id = finding.anchor_event_id
            if others.pop(insight.insight_id, None) is None:
                new.append((insight, anchor_id))
            else:
                counts = _adding(counts, insight, anchor_id)
    missing: list[Insight] = []
    for insight, anchor_id in _unknown(new, others.values()):
        counts = _adding(counts, insight, anchor_id)
        missing.append(insight)
    for other in others.values():
        counts = _adding(counts, other, _anchor_id(totals, other))
    return counts, missing


def _adding(
    counts: InsightCounts, insight: Insight | StoredInsight, anchor_id: str
) -> InsightCounts:
    return counts.adding(insight.insight_type, insight.insight_id, insight.timestamp_ms, anchor_id)


def _unknown(
    new: Sequence[tuple[Insight, str]], others: Iterable[StoredInsight]
) -> Iterator[tuple[Insight, str]]:
    """Those that are not the same as one of the others, of which each is the same as one at most.

    The same are two of one type that share an event of evidence, as in `flows.core.backtest`.
    """
    owners: dict[tuple[str, str], list[str]] = {}
    for other in others:
        for event_id in other.related_event_ids:
            owners.setdefault((other.insight_type, event_id), []).append(other.insight_id)
    taken: set[str] = set()
    for insight, anchor_id in new:
        same = {
            other_id
            for event_id in (anchor_id, *insight.related_event_ids)
            for other_id in owners.get((insight.insight_type, event_id), ())
        } - taken
        if same:
            taken.add(min(same))
        else:
            yield insight, anchor_id


def _anchor_id(totals: SessionTotals, insight: StoredInsight) -> str:
    """The event that a stored insight is anchored at: the one of its evidence that gives its id."""
    version = insight.detector_version
    for event_id in insight.related_event_ids if version.isdecimal() else ():
        for ordinal in range(ORDINALS_MAX):
            made = insight_id(
                totals.project_id,
                totals.session_id,
                insight.insight_type,
                event_id,
                int(version),
                ordinal,
            )
            if made == insight.insight_id:
                return event_id
    return insight.related_event_ids[0] if insight.related_event_ids else ""


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
