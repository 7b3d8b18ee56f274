"""Requests and answers about goals and funnels. Source: api.md, section 7; revenue.md, 5 and 6."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, RootModel, StringConstraints

from api.accounts.fields import UNNAMED, Answer, Line, Moment
from api.bodies import Body
from api.parameters import PeriodParameters

STEPS_MIN, STEPS_MAX = 2, 10
PATH_PATTERN = r"^/[^*]*\*?$"
GoalName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
TrackMethod = Literal["data_attribute", "javascript", "page_url"]
_Pattern = Annotated[str, Field(min_length=1, max_length=500)] | None
_Value = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)] | None
_Hours = Annotated[int, Field(ge=1, le=720)]


class NewGoalBody(Body):
    """POST :pid/goals. `match_pattern` of a page is its path; a * at its end is a beginning."""

    name: GoalName
    display_name: Line | None = None
    track_method: TrackMethod
    match_pattern: _Pattern = None
    monetary_value: _Value = None
    is_active: bool = True


class GoalBody(Body):
    """PATCH :pid/goals/:id; what is not named stays."""

    name: GoalName = UNNAMED
    display_name: Line | None = UNNAMED
    track_method: TrackMethod = UNNAMED
    match_pattern: _Pattern = UNNAMED
    monetary_value: _Value = UNNAMED
    is_active: bool = UNNAMED


class PageStep(Body):
    """A page was seen: its path, with a * at the end for all that begin so."""

    type: Literal["page"]
    pattern: Annotated[str, StringConstraints(pattern=PATH_PATTERN, max_length=500)]


class GoalStep(Body):
    """A goal was reached: one of the project's, or an event of this name."""

    type: Literal["goal"]
    name: GoalName


Step = Annotated[PageStep | GoalStep, Field(discriminator="type")]
Steps = Annotated[list[Step], Field(min_length=STEPS_MIN, max_length=STEPS_MAX)]


class NewFunnelBody(Body):
    """POST :pid/funnels."""

    name: Line
    steps: Steps
    time_window_hours: _Hours = 24


class FunnelBody(Body):
    """PATCH :pid/funnels/:id; what is not named stays."""

    name: Line = UNNAMED
    steps: Steps = UNNAMED
    time_window_hours: _Hours = UNNAMED


class FunnelParameters(PeriodParameters):
    """GET :pid/funnels/:id/report; who entered in the period, by a property of that session."""

    group: Literal["utm_source", "device_type"] | None = None


class Goal(Answer):
    """What counts as a success; `monetary_value` is of a completion that names none itself."""

    id: UUID
    name: str
    display_name: str | None
    track_method: TrackMethod
    match_pattern: str | None
    monetary_value: float | None
    is_active: bool
    created_at: Moment
    updated_at: Moment


class Goals(RootModel[list[Goal]]):
    """All goals of a project, by name."""


class DayConversions(Answer):
    """One day of the period's time zone."""

    date: str
    conversions: int
    sessions: int


class SourceConversions(Answer):
    """By where the sessions came from."""

    source: str
    conversions: int
    sessions: int
    value: float


class Conversions(Answer):
    """Completions of a goal.

    `rate` is the percentage of all sessions that had one, null if there were none.
    """

    conversions: int
    sessions: int
    rate: float | None
    value: float
    by_source: list[SourceConversions]
    by_day: list[DayConversions]


class FunnelStep(Answer):
    """A step as it was defined."""

    type: Literal["page", "goal"]
    pattern: str | None = None
    name: str | None = None


class Funnel(Answer):
    """Steps in their order; all of them within so many hours from the first."""

    id: UUID
    name: str
    steps: list[FunnelStep]
    time_window_hours: int
    created_at: Moment
    updated_at: Moment


class Funnels(RootModel[list[Funnel]]):
    """All funnels of a project, by name."""


class ReachedStep(Answer):
    """How many people got there; percentages are null where nobody could have."""

    step: int
    visitors: int
    from_previous: float | None
    from_first: float | None
    median_time_s: float | None


class FunnelGroup(Answer):
    """The people of one group; null: their session says nothing of it."""

    value: str | None
    steps: list[ReachedStep]


class FunnelReport(Answer):
    """Everybody who entered in the period, and the largest groups of them if asked for."""

    steps: list[ReachedStep]
    groups: list[FunnelGroup]
