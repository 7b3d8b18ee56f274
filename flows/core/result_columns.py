"""The columns of the tables `sessions` and `insights`: rows in, Arrow tables out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from flows.core.insight import Insight
from flows.core.session_row import SessionRow

_TIME = pa.timestamp("ms", tz="UTC")
_TEXT = pa.string()
_BY_KIND = {"str": _TEXT, "bool": pa.bool_(), "int": pa.uint32(), "float": pa.float64()}
_SESSION_TYPES: dict[str, pa.DataType] = {
    name: _BY_KIND.get(str(kind), _TEXT) for name, kind in SessionRow.__annotations__.items()
} | {
    "started_at_ms": _TIME,
    "ended_at_ms": _TIME,
    "duration_ms": pa.uint64(),
    "engaged_ms": pa.uint64(),
    "revision": pa.uint64(),
    "revenue_minor": pa.int64(),
    "experience_score": pa.int32(),
}
_INSIGHT_TYPES: dict[str, pa.DataType] = {
    "insight_id": _TEXT,
    "project_id": _TEXT,
    "session_id": _TEXT,
    "insight_type": _TEXT,
    "timestamp": _TIME,
    "ended_at": _TIME,
    "url": _TEXT,
    "path": _TEXT,
    "x": pa.int32(),
    "y": pa.int32(),
    "target_selector": _TEXT,
    "severity": _TEXT,
    "detector_version": _TEXT,
    "details": _TEXT,
    "related_event_ids": pa.list_(_TEXT),
    "retain_days": pa.uint32(),
}


# For how many days a project's rows are kept; 0 is the table's default.
RetainDays = Callable[[str], int]


def session_table(rows: Sequence[SessionRow], retain_days: RetainDays | None = None) -> pa.Table:
    """Rows of `sessions`, one each; without `retain_days` kept for as long as each row says."""
    kept = rows
    if retain_days is not None:
        kept = [
            msgspec.structs.replace(row, retain_days=retain_days(row.project_id)) for row in rows
        ]
    return pa.table(
        {
            name.replace("_at_ms", "_at"): pa.array([getattr(row, name) for row in kept], kind)
            for name, kind in _SESSION_TYPES.items()
        }
    )


def insight_table(
    insights: Sequence[Insight], retain_days: RetainDays = lambda _project_id: 0
) -> pa.Table:
    """Rows of `insights`, one each; previews are no rows."""
    assert not any(insight.is_provisional for insight in insights)
    rows = [(*_insight_values(one), retain_days(one.project_id)) for one in insights]
    columns = zip(*rows, strict=True)
    if not insights:
        columns = ((),) * len(_INSIGHT_TYPES)  # type: ignore[assignment]
    return pa.table(
        {
            name: pa.array(values, kind)
            for (name, kind), values in zip(_INSIGHT_TYPES.items(), columns, strict=True)
        }
    )


def _insight_values(insight: Insight) -> tuple[Any, ...]:
    return (
        insight.insight_id,
        insight.project_id,
        insight.session_id,
        insight.insight_type,
        insight.timestamp_ms,
        insight.ended_at_ms,
        insight.url,
        insight.path,
        insight.x,
        insight.y,
        insight.target_selector or "",
        insight.severity,
        str(insight.rule_version),
        insight.details,
        insight.related_event_ids,
    )
