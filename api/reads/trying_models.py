"""Parameters, bodies and answers of explaining and of trying rules. Source: docs/backtesting.md."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from api.bodies import Body
from api.reads.asking import Answer
from schemas.detection_changes import CHANGES_MAX

Setting = bool | int | float | str | list[str]


class BacktestBody(Body):
    """POST backtests: settings that are changed, by their keys below `insights`."""

    start_date: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    end_date: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    timezone: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    preset: Literal["gosight", "posthog", "datadog"] | None = None
    changes: dict[
        Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?$", max_length=100)],
        Setting,
    ] = Field(default_factory=dict, max_length=CHANGES_MAX)


class JobStarted(Answer):
    """Where to ask how far it is."""

    job_id: str
    state: str


class JobProgress(Answer):
    """Events that were read, of how many."""

    done: int
    total: int


class JobState(Answer):
    """A job; `result` is null until it is done, `error` null unless it failed."""

    id: str
    kind: str
    state: Literal["queued", "running", "done", "failed"]
    created_at: str
    updated_at: str
    progress: JobProgress
    error: str | None
    result: Any


class EventInBrief(Answer):
    """What an event was."""

    event_id: str
    kind: str
    at_ms: int
    path: str
    about: str
    x: int | None
    y: int | None


class ToldVerdict(Answer):
    """What one detector thought of one event."""

    insight_type: str
    outcome: str
    reason: str
    measured: dict[str, Any]
    limits: dict[str, Any]
    evidence: list[str]


class ExplainedEvent(Answer):
    """One event and what was thought of it."""

    event: EventInBrief
    verdicts: list[ToldVerdict]


class ExplainedInsight(Answer):
    """An insight that the events make."""

    insight_id: str
    insight_type: str
    severity: str
    rule_version: int
    anchor_event_id: str
    at_ms: int
    ended_at_ms: int
    path: str
    target_selector: str | None
    details: dict[str, Any]
    related_event_ids: list[str]


class Explanation(Answer):
    """A session explained; `evidence` holds every event that is named anywhere, by id."""

    project_id: str
    session_id: str
    event_count: int
    events: list[ExplainedEvent]
    insights: list[ExplainedInsight]
    evidence: dict[str, EventInBrief]
