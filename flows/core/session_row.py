"""What flows say of a session and of an insight, as rows and as Kafka messages.

A `SessionRow` is one revision of a row of the table `sessions`, by the names of its columns (times
are milliseconds here). Both kinds of row come back from their message as they went in.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import astuple

from flows.core.insight import Insight
from schemas.v1 import pipeline_pb2

ISSUES_NONE = "[]"


class SessionRow(msgspec.Struct, frozen=True):
    """One revision of one session; the highest revision counts.

    `experience_score`, `issues`, the emotion and `end_reason` are set while the session is closed.
    `issues` is JSON (`flows.core.experience`). `retain_days` 0 is the store's default.
    """

    session_id: str
    project_id: str
    started_at_ms: int
    ended_at_ms: int
    revision: int
    is_closed: bool = False
    user_id: str = ""
    anonymous_id: str = ""
    duration_ms: int = 0
    entry_url: str = ""
    entry_path: str = ""
    exit_url: str = ""
    exit_path: str = ""
    page_count: int = 0
    event_count: int = 0
    click_count: int = 0
    error_count: int = 0
    max_scroll_depth: int = 0
    has_error: bool = False
    has_rage_click: bool = False
    has_dead_click: bool = False
    is_bounce: bool = False
    utm_source: str = ""
    utm_medium: str = ""
    utm_campaign: str = ""
    utm_term: str = ""
    utm_content: str = ""
    browser: str = ""
    os: str = ""
    device_type: str = ""
    country: str = ""
    country_code: str = ""
    city: str = ""
    channel_type: str = "web"
    referrer: str = ""
    referrer_domain: str = ""
    converted: bool = False
    conversion_event: str = ""
    goals_completed: int = 0
    revenue_minor: int = 0
    currency: str = ""
    rage_click_count: int = 0
    dead_click_count: int = 0
    error_click_count: int = 0
    engaged_ms: int = 0
    end_reason: str = ""
    has_replay: bool = False
    experience_score: int | None = None
    issues: str = ISSUES_NONE
    emotion: str = ""
    emotion_confidence: float = 0.0
    emotion_event_id: str | None = None
    retain_days: int = 0


_FIELDS = {
    name: {"started_at_ms": "started_at", "ended_at_ms": "ended_at"}.get(name, name)
    for name in SessionRow.__struct_fields__
}


def session_message(row: SessionRow) -> pipeline_pb2.SessionRevision:
    """The row as a value of gosight.sessions."""
    # What is empty is not written: only a score of 0 differs from none.
    fields = {
        name: value for name, value in zip(_FIELDS.values(), astuple(row), strict=True) if value
    }
    if row.experience_score is not None:
        fields["experience_score"] = row.experience_score
    if row.issues == ISSUES_NONE:
        del fields["issues"]
    return pipeline_pb2.SessionRevision(**fields)


def row_of_message(message: pipeline_pb2.SessionRevision) -> SessionRow:
    """The row that `session_message` was given."""
    values = {name: getattr(message, field) for name, field in _FIELDS.items()}
    if not message.HasField("experience_score"):
        values["experience_score"] = None
    values["emotion_event_id"] = message.emotion_event_id or None
    values["issues"] = message.issues or ISSUES_NONE
    return SessionRow(**values)


def insight_message(insight: Insight) -> pipeline_pb2.Insight:
    """The insight as a value of gosight.insights."""
    return pipeline_pb2.Insight(
        insight_id=insight.insight_id,
        project_id=insight.project_id,
        session_id=insight.session_id,
        insight_type=insight.insight_type,
        timestamp=insight.timestamp_ms,
        ended_at=insight.ended_at_ms,
        url=insight.url,
        path=insight.path,
        x=insight.x,
        y=insight.y,
        target_selector=insight.target_selector or "",
        severity=insight.severity,
        detector_version=str(insight.rule_version),
        details=insight.details,
        related_event_ids=insight.related_event_ids,
        revision=1,
        is_provisional=insight.is_provisional,
    )


def insight_of_message(message: pipeline_pb2.Insight) -> Insight:
    """The insight that `insight_message` was given.

    Raises:
        ValueError: the version of its rule is not a number.
    """
    return Insight(
        insight_id=message.insight_id,
        project_id=message.project_id,
        session_id=message.session_id,
        insight_type=message.insight_type,
        timestamp_ms=message.timestamp,
        ended_at_ms=message.ended_at,
        url=message.url,
        path=message.path,
        x=message.x if message.HasField("x") else None,
        y=message.y if message.HasField("y") else None,
        target_selector=message.target_selector or None,
        severity=message.severity,
        rule_version=int(message.detector_version),
        details=message.details,
        related_event_ids=tuple(message.related_event_ids),
        is_provisional=message.is_provisional,
    )
