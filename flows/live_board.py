"""Showing results while they come: live sessions and the newest insights.

In: chunks as they are read, before they are stored. Out: what `connectors.live_results` keeps.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from connectors.live_results import LiveInsight, LiveResults, LiveSession
from connectors.write_gate import WriteGate
from flows.core.insight import Insight
from flows.core.results import ResultChunk
from flows.core.session_row import SessionRow
from flows.core.suppression import without_erased

_encode = msgspec.json.Encoder().encode


def show(live: LiveResults, chunk: ResultChunk, *, gate: WriteGate | None = None) -> None:
    """Show a chunk without what was erased; never raises."""
    if gate is not None:
        chunk = without_erased(chunk, gate.known())
    live.put(
        [_session(row) for row in chunk.sessions],
        [*map(_insight, chunk.insights), *map(_insight, _last_of_each(chunk.previews))],
    )


def _last_of_each(previews: Sequence[Insight]) -> list[Insight]:
    """Of each open episode the newest preview."""
    return list({preview.insight_id: preview for preview in previews}.values())


def _session(row: SessionRow) -> LiveSession:
    """Source of the fields: sessions.md, section 9."""
    fields = {
        "user_id": row.user_id,
        "started_at": str(row.started_at_ms),
        "last_event_at": str(row.ended_at_ms),
        "page_count": str(row.page_count),
        "event_count": str(row.event_count),
        "current_url": row.exit_url,
        "is_closed": "1" if row.is_closed else "0",
    }
    return LiveSession(row.project_id, row.session_id, row.revision, row.ended_at_ms, fields)


def _insight(insight: Insight) -> LiveInsight:
    document = {
        "insight_id": insight.insight_id,
        "project_id": insight.project_id,
        "session_id": insight.session_id,
        "insight_type": insight.insight_type,
        "timestamp": insight.timestamp_ms,
        "ended_at": insight.ended_at_ms,
        "url": insight.url,
        "path": insight.path,
        "x": insight.x,
        "y": insight.y,
        "target_selector": insight.target_selector,
        "severity": insight.severity,
        "rule_version": insight.rule_version,
        "details": msgspec.Raw(insight.details.encode()),
        "related_event_ids": insight.related_event_ids,
        "provisional": insight.is_provisional,
    }
    return LiveInsight(
        insight.project_id,
        insight.insight_id,
        insight.timestamp_ms,
        _encode(document),
        insight.is_provisional,
    )
