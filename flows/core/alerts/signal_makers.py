"""Signals of events, insights and sessions, as far as the rules of their project need them.

In: batches of sessions (live or of stored rows alike), insights, rows of sessions. Out: at most one
`SignalBatch` each. Pure.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b

from flows.core.alerts.metrics import INSIGHT_KINDS, Kind
from flows.core.alerts.signals import (
    Dims,
    Signal,
    SignalBatch,
    short_id,
    slice_of,
    uuid_bytes,
)
from flows.core.insight import Insight
from flows.core.money import hundredths
from flows.core.session_event import Goal, SessionBatch, Vitals
from flows.core.session_row import SessionRow

_KIND_OF_EVENT = {
    "page_view": Kind.PAGEVIEW,
    "js_error": Kind.ERROR,
    "unhandled_rejection": Kind.ERROR,
    "goal": Kind.GOAL,
    "purchase": Kind.PURCHASE,
}
# Of whose payloads something is read.
BODY_KINDS = frozenset({"page_load", "web_vitals", "goal", "purchase"})
# An insight is decided this long after it ended, at the latest: the hold of late events (6 s), what
# its detector waits for, and the way here. It counts from then on even if it came sooner, so that
# what is evaluated does not depend on how quick everybody was. Source: docs/detectors.md.
DECIDED_MS = 15_000
SLOW_PAGE_DECIDED_MS = 20_000

CLOSED = 2
BOUNCED = 1


def signals_of_batch(
    batch: SessionBatch, offset: int, wanted: Collection[Kind]
) -> SignalBatch | None:
    """What the events of a batch tell; None if nothing that is wanted."""
    dims: dict[Dims, int] = {}
    signals: list[Signal] = []
    country = batch.place.country
    wants_activity = Kind.ACTIVITY in wanted
    seen: set[tuple[int, int]] = set()
    page = device = None
    place = 0
    for event in batch.events:
        if event.device.is_bot:
            continue
        if event.page is not page or event.device is not device:
            page, device = event.page, event.device
            found = (page.path, device.browser, country, device.device_type, device.os)
            place = dims.setdefault(found, len(dims))
        at_ms = event.at_ms
        if wants_activity:
            key = slice_of(at_ms), place
            if key not in seen:
                seen.add(key)
                signals.append((Kind.ACTIVITY, at_ms, place, 0, b""))
        body = event.body
        kind = _KIND_OF_EVENT.get(event.kind)
        if kind is not None:
            if kind in wanted:
                value = 0
                if kind is Kind.PURCHASE and isinstance(body, Goal):
                    value = hundredths(body.value)
                signals.append((kind, at_ms, place, value, short_id(event.event_id)))
        elif isinstance(body, Vitals):
            ident = _view_id(event.visitor.page_view_id) or short_id(event.event_id)
            if body.lcp is not None and Kind.LCP in wanted:
                signals.append((Kind.LCP, at_ms, place, body.lcp, ident))
            if body.ttfb is not None and Kind.TTFB in wanted:
                signals.append((Kind.TTFB, at_ms, place, body.ttfb, ident))
    if not signals:
        return None
    return SignalBatch(
        offset,
        batch.project_id,
        uuid_bytes(batch.session_id),
        batch.received_at_ms,
        tuple(dims),
        tuple(signals),
    )


def _view_id(page_view_id: str) -> bytes:
    if not page_view_id:
        return b""
    return blake2b(page_view_id.encode(), digest_size=8).digest()


def signals_of_insight(
    insight: Insight, offset: int, wanted: Collection[Kind]
) -> SignalBatch | None:
    """What an insight tells; None for one of no interest, and for a preview."""
    kind = INSIGHT_KINDS.get(insight.insight_type)
    if kind is None or kind not in wanted or insight.is_provisional:
        return None
    decided_ms = SLOW_PAGE_DECIDED_MS if kind is Kind.SLOW_PAGE else DECIDED_MS
    return SignalBatch(
        offset,
        insight.project_id,
        uuid_bytes(insight.session_id),
        max(insight.timestamp_ms, insight.ended_at_ms) + decided_ms,
        ((insight.path, "", "", "", ""),),
        ((kind, insight.timestamp_ms, 0, 0, uuid_bytes(insight.insight_id)),),
    )


def signals_of_session(
    row: SessionRow, offset: int, wanted: Collection[Kind]
) -> SignalBatch | None:
    """What a revision of a session tells: whether it is over and was a bounce."""
    if Kind.SESSION not in wanted:
        return None
    value = row.revision * 4 + CLOSED * row.is_closed + BOUNCED * row.is_bounce
    return SignalBatch(
        offset,
        row.project_id,
        uuid_bytes(row.session_id),
        row.ended_at_ms + DECIDED_MS,
        ((row.entry_path, row.browser, row.country, row.device_type, row.os),),
        ((Kind.SESSION, row.started_at_ms, 0, value, b""),),
    )
