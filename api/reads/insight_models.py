"""Parameters and answers of what is read of insights and errors. Source: api.md, section 6."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, RootModel

from api.bodies import Body
from api.parameters import PER_PAGE_DEFAULT, PeriodParameters
from api.reads.asking import Answer
from api.reads.session_models import ROWS_BY_PAGE_MAX, Order, PerPage, Text
from schemas.detector_names import NAME, NAME_LENGTH_MAX

# A built-in detector's name, or that of a user's own.
InsightType = Annotated[
    str, Field(min_length=1, max_length=NAME_LENGTH_MAX, pattern=f"^{NAME.pattern}$")
]
ErrorStatus = Literal["open", "resolved", "ignored"]


class InsightsParameters(PeriodParameters):
    """GET insights: `type` is a detector's name, `path` may end in *; `top` hot spots are told."""

    type: InsightType | None = None
    path: Text | None = None
    top: int = Field(20, ge=1, le=100)
    cursor: Text | None = None
    per_page: PerPage = PER_PAGE_DEFAULT


class ErrorsParameters(PeriodParameters):
    """GET errors: groups by page number, or occurrences by cursor if `grouped` is false."""

    grouped: bool = True
    status: ErrorStatus | None = None
    sort: Annotated[
        Literal["last_seen", "first_seen", "count", "sessions"],
        Field(validation_alias=AliasChoices("sort", "sort_by")),
    ] = "last_seen"
    order: Order = "desc"
    page: int = Field(1, ge=1, le=ROWS_BY_PAGE_MAX)
    cursor: Text | None = None
    per_page: PerPage = PER_PAGE_DEFAULT


class ErrorChange(Body):
    """PATCH an error."""

    status: ErrorStatus


class InsightCounts(Answer):
    """How many insights of each type; `other`: those of detectors of one's own, by name."""

    rage_clicks: int
    dead_clicks: int
    error_clicks: int
    thrashed_cursors: int
    u_turns: int
    slow_pages: int
    other: dict[str, int]


class InsightInList(Answer):
    """An insight; `details` are those of its detector."""

    id: str
    type: str
    severity: str
    timestamp: str
    ended_at: str
    session_id: str
    url: str
    path: str
    target_selector: str
    x: int | None
    y: int | None
    details: dict[str, Any]


class HotSpot(Answer):
    """An element on which clicks go wrong."""

    path: str
    selector: str
    rage_click_count: int
    dead_click_count: int
    error_click_count: int
    sessions: int


class Insights(Answer):
    """What was found in a period."""

    summary: InsightCounts
    insights: list[InsightInList]
    hotspots: list[HotSpot]


class ErrorGroup(Answer):
    """Errors of one fingerprint; where they happened is told of the newest one."""

    id: str
    message: str
    error_type: str
    event_type: str
    filename: str | None
    lineno: int | None
    colno: int | None
    count: int
    session_count: int
    first_seen: str
    last_seen: str
    status: ErrorStatus
    browsers: dict[str, int]


class ErrorOccurrence(Answer):
    """One time that an error happened."""

    id: str
    event_id: str
    session_id: str
    timestamp: str
    event_type: str
    error_type: str
    message: str
    stack: str
    url: str
    path: str
    browser: str
    status: ErrorStatus


class ErrorList(RootModel[list[ErrorGroup] | list[ErrorOccurrence]]):
    """A page of groups, or of occurrences."""


class DayCount(Answer):
    """A day of the caller's time zone."""

    date: str
    count: int


class PageCount(Answer):
    """A page and how often."""

    path: str
    count: int


class ErrorStats(Answer):
    """When and where an error happens."""

    occurrences_over_time: list[DayCount]
    browsers: dict[str, int]
    pages: list[PageCount]


class SampleSession(Answer):
    """A session in which it happened."""

    session_id: str
    timestamp: str
    url: str


class ErrorDetail(ErrorGroup):
    """A group with its stack and statistics."""

    stack: str
    stats: ErrorStats
    sample_sessions: list[SampleSession]


class ErrorDecision(Answer):
    """What was decided."""

    id: str
    status: ErrorStatus
    updated_at: str
