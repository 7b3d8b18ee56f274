"""Parameters and answers of what is read of sessions. Source: api.md, sections 6 and 7."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, RootModel

from api.parameters import PER_PAGE_DEFAULT, PER_PAGE_MAX, NoParameters, PeriodParameters
from api.reads.asking import Answer

Text = Annotated[str, Field(min_length=1, max_length=1024)]
PerPage = Annotated[
    int, Field(ge=1, le=PER_PAGE_MAX, validation_alias=AliasChoices("per_page", "limit"))
]
Order = Annotated[
    Literal["asc", "desc"], Field(validation_alias=AliasChoices("order", "sort_order"))
]
SECONDS_MAX = 86_400 * 366
# Pages of a list by number; what is further down is reached by cursors. Source: api.md, section 1.
ROWS_BY_PAGE_MAX = 10_000


class SessionFilters(PeriodParameters):
    """Which sessions: those that began in the period and pass every filter that is given."""

    has_error: bool | None = None
    has_rage_click: bool | None = None
    has_dead_click: bool | None = None
    has_replay: bool | None = None
    converted: bool | None = None
    country: Annotated[str, Field(pattern="^[A-Za-z]{2}$")] | None = None
    device_type: Text | None = None
    browser: Text | None = None
    user_id: Text | None = None
    path: Text | None = None
    utm_source: Text | None = None
    min_duration: float | None = Field(None, ge=0, le=SECONDS_MAX)
    max_duration: float | None = Field(None, ge=0, le=SECONDS_MAX)


class SessionsParameters(SessionFilters):
    """GET sessions: filters, sorting, and where the page starts."""

    sort: Annotated[
        Literal["started_at", "duration", "events"],
        Field(validation_alias=AliasChoices("sort", "sort_by")),
    ] = "started_at"
    order: Order = "desc"
    cursor: Text | None = None
    per_page: PerPage = PER_PAGE_DEFAULT


class TimelineParameters(NoParameters):
    """GET events of a session: `event_types` is a list with commas between."""

    event_types: Text | None = None
    page: int = Field(1, ge=1, le=ROWS_BY_PAGE_MAX)
    cursor: Text | None = None
    per_page: PerPage = PER_PAGE_DEFAULT


class ExplainParameters(NoParameters):
    """GET explain: one event, or one insight; else every click."""

    event: Text | None = None


class Device(Answer):
    """With what a visitor came."""

    browser: str
    os: str
    device_type: str


class WholeDevice(Device):
    """The same with versions and sizes, where they are known."""

    browser_version: str
    os_version: str
    screen_resolution: str | None
    viewport: str | None
    language: str
    timezone: str


class Location(Answer):
    """From where a visitor came."""

    country: str
    country_code: str
    city: str


class WholeLocation(Location):
    """The same with the region."""

    region: str


class SessionInList(Answer):
    """A session as the list shows it."""

    id: str
    user_id: str
    anonymous_id: str
    started_at: str
    ended_at: str
    duration_ms: int
    entry_url: str
    exit_url: str
    page_count: int
    event_count: int
    has_error: bool
    has_rage_click: bool
    has_dead_click: bool
    has_replay: bool
    converted: bool
    is_closed: bool
    experience_score: int | None
    utm_source: str
    device: Device
    location: Location


class SessionList(RootModel[list[SessionInList]]):
    """A page of sessions."""


class SeenPage(Answer):
    """One view of a page; what is not known is null."""

    url: str
    path: str
    title: str
    entered_at: str
    time_on_page_ms: int | None
    scroll_depth: int | None


class SessionStats(Answer):
    """How much happened; `engaged_ms` is whole slots of 5 s, and may be over `duration_ms`."""

    event_count: int
    page_count: int
    click_count: int
    error_count: int
    rage_click_count: int
    dead_click_count: int
    error_click_count: int
    max_scroll_depth: int
    engaged_ms: int


class SessionInsight(Answer):
    """Something that was found in the session."""

    id: str
    type: str
    timestamp: str
    url: str
    target: str


class Campaign(Answer):
    """What the address said of where the visitor came from."""

    source: str
    medium: str
    campaign: str
    term: str
    content: str


class SessionUser(Answer):
    """Who it was; traits are null for whoever may not see them."""

    id: str
    traits: dict[str, str] | None


class SessionDetail(Answer):
    """One session on one page."""

    id: str
    user_id: str
    anonymous_id: str
    started_at: str
    ended_at: str
    duration_ms: int
    entry_url: str
    exit_url: str
    referrer: str
    referrer_domain: str
    end_reason: str
    is_bounce: bool
    is_closed: bool
    converted: bool
    conversion_event: str
    has_error: bool
    has_rage_click: bool
    has_dead_click: bool
    has_replay: bool
    device: WholeDevice
    location: WholeLocation
    utm: Campaign
    stats: SessionStats
    pages: list[SeenPage]
    insights: list[SessionInsight]
    user: SessionUser | None


class TimelineEvent(Answer):
    """One event of a session."""

    id: str
    type: str
    timestamp: str
    url: str
    payload: dict[str, Any]


class Timeline(RootModel[list[TimelineEvent]]):
    """Events in the order they happened."""


class Issue(Answer):
    """Why a score is not higher."""

    type: str
    count: int
    penalty: int
    insight_ids: list[str]


class SessionExperience(Answer):
    """How well a session went; score and emotion are null until it is closed."""

    score: int | None
    band: Literal["good", "fair", "poor"] | None
    issues: list[Issue]
    emotion: str | None
    confidence: float | None
    event_id: str | None
    occurred_at: str


class JourneyStep(Answer):
    """A page that the session came to; views of one page one after the other are one step."""

    step_num: int
    screen: str
    occurred_at: str


class Journey(RootModel[list[JourneyStep]]):
    """The steps of a session, in order."""
