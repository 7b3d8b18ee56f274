"""Parameters and answers of the overview, and of reports by page and by day. Source: api.md, 6."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, RootModel

from api.parameters import PeriodParameters
from api.reads.asking import Answer
from api.reads.session_models import Text

DeviceType = Literal["desktop", "mobile", "tablet"]
ViewportClass = Literal["narrow", "medium", "wide", "unknown"]


class PagesParameters(PeriodParameters):
    """GET pages: `path` may end in *."""

    path: Text | None = None
    top: int = Field(100, ge=1, le=1_000)


class PerformanceParameters(PeriodParameters):
    """GET performance: `top` pages, those with most samples first."""

    path: Text | None = None
    device_type: DeviceType | None = None
    top: int = Field(100, ge=1, le=1_000)


class LatencyParameters(PeriodParameters):
    """GET latency: `api` is the path of requests."""

    api: Text | None = None
    method: Annotated[str, Field(pattern="^[A-Za-z]{1,16}$")] | None = None
    top: int = Field(100, ge=1, le=1_000)


class JourneysParameters(PeriodParameters):
    """GET journeys: sequences from a page, to a page, or between two."""

    start: Text | None = None
    end: Text | None = None
    depth: int = Field(5, ge=2, le=5)
    top: int = Field(20, ge=1, le=100)


class Period(Answer):
    """The end is exclusive."""

    start: str
    end: str
    timezone: str


class Summary(Answer):
    """Counts, each with its change in percent; null where there was nothing to compare with.

    Durations are seconds; both they and the bounce rate are of sessions that are over.
    """

    sessions: int
    sessions_change: float | None
    users: int
    users_change: float | None
    visitors: int
    visitors_change: float | None
    pageviews: int
    pageviews_change: float | None
    events: int
    events_change: float | None
    avg_session_duration: float | None
    avg_session_duration_change: float | None
    bounce_rate: float | None
    bounce_rate_change: float | None


class DayValue(Answer):
    """A day of the caller's time zone."""

    date: str
    value: int


class TopPage(Answer):
    """A page; `avg_time` is in seconds."""

    path: str
    views: int
    sessions: int
    visitors: int
    avg_time: float | None


class TopBrowser(Answer):
    """A browser."""

    browser: str
    sessions: int
    visitors: int


class TopCountry(Answer):
    """A country."""

    country: str
    country_code: str
    sessions: int
    visitors: int


class TopReferrer(Answer):
    """From where sessions came."""

    source: str
    sessions: int


class DeviceShares(Answer):
    """Percent of the sessions whose device is known."""

    desktop: float
    mobile: float
    tablet: float


class Hour(Answer):
    """An hour in UTC."""

    hour: str
    events: int
    page_views: int
    sessions: int
    users: int
    visitors: int


class Charts(Answer):
    """Lists of the overview."""

    sessions_over_time: list[DayValue]
    pageviews_over_time: list[DayValue]
    top_pages: list[TopPage]
    top_referrers: list[TopReferrer]
    top_browsers: list[TopBrowser]
    devices: DeviceShares
    countries: list[TopCountry]
    hourly: list[Hour]


class WentWrong(Answer):
    """Clicks that went wrong, and sessions in which something did."""

    rage_clicks: int
    dead_clicks: int
    error_sessions: int
    frustrated_sessions: int


class Freshness(Answer):
    """How far storing is behind."""

    last_received_at: str | None
    seconds_since_last: float | None
    lag_ms_p50: float | None
    lag_ms_p99: float | None
    lag_ms_max: float | None


class Overview(Answer):
    """A project's period on one page."""

    period: Period
    summary: Summary
    charts: Charts
    insights: WentWrong
    freshness: Freshness


class PageInTable(Answer):
    """A page; times are seconds, depths and rates percent; null where nothing tells."""

    path: str
    views: int
    sessions: int
    avg_time: float | None
    median: float | None
    p75: float | None
    exits: int
    entries: int
    bounce_rate: float | None
    scroll_reach: float


class PageTable(RootModel[list[PageInTable]]):
    """Pages, most viewed first."""


class Vital(Answer):
    """Mean and percentiles; null without samples. Milliseconds, but cls, which has no unit."""

    avg: float | None
    p50: float | None
    p75: float | None
    p95: float | None


class Vitals(Answer):
    """All that is measured of a page; `samples` are the reports (page_load, web_vitals)."""

    samples: int
    lcp: Vital
    inp: Vital
    cls: Vital
    fcp: Vital
    ttfb: Vital
    fid: Vital
    load_complete: Vital


class PageVitals(Vitals):
    """Of one page."""

    path: str


class DayVitals(Vitals):
    """Of one day."""

    date: str


class Performance(Answer):
    """Web vitals by page, and of all pages by day."""

    pages: list[PageVitals]
    days: list[DayVitals]


class Requests(Answer):
    """Requests of pages to servers; the share of failed ones is from 0 to 1."""

    requests: int
    latency_ms_p50: float
    latency_ms_p95: float
    errors: int
    error_share: float


class Endpoint(Requests):
    """One method and path."""

    method: str
    path: str


class DayRequests(Requests):
    """One day."""

    date: str


class Latency(Answer):
    """Requests by endpoint, slowest first, and of all by day."""

    endpoints: list[Endpoint]
    days: list[DayRequests]


class Sequence(Answer):
    """Pages in a row: how many sessions reached each, and what share left after it."""

    screens: list[str]
    sessions: int
    reached: list[int]
    drop_off: list[float]


class Journeys(RootModel[list[Sequence]]):
    """The most frequent sequences."""


class Bands(Answer):
    """Closed sessions by score: good from 80, fair from 50."""

    good: int
    fair: int
    poor: int


class WorstPage(Answer):
    """The mean score of the sessions that saw a page."""

    path: str
    sessions: int
    score: float


class DayEmotions(Answer):
    """How many sessions of a day have which label."""

    date: str
    emotions: dict[str, int]


class ProjectExperience(Answer):
    """How well closed sessions went; the mean is null without any."""

    mean: float | None
    sessions: int
    distribution: Bands
    worst_pages: list[WorstPage]
    emotions: list[DayEmotions]
