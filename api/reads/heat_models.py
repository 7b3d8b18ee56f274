"""Parameters and answers of heat maps, live figures and usage. Source: api.md, sections 6 and 7."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, RootModel

from api.parameters import PeriodParameters
from api.reads.asking import Answer
from api.reads.overview_models import DeviceType, Period, ViewportClass
from api.reads.session_models import Text

MapType = Literal["click", "scroll", "move", "attention"]


class PageMapParameters(PeriodParameters):
    """A page, and with which windows it was seen; a width stands for its class."""

    path: Text
    device_type: DeviceType | None = None
    viewport_class: ViewportClass | None = None
    viewport_width: int | None = Field(None, ge=1, le=100_000)


class HeatMapParameters(PageMapParameters):
    """GET heatmaps: one map, or all of them."""

    type: MapType | None = None


class Viewport(Answer):
    """The median size of the windows; null if none is known."""

    width: int | None
    height: int | None


class ClickCell(Answer):
    """A cell of 10 by 10 pixels by its centre, and what is mostly clicked in it."""

    x: int
    y: int
    count: int
    selector: str


class MoveCell(Answer):
    """A cell of 10 by 10 pixels by its centre, and how often the pointer was seen in it."""

    x: int
    y: int
    count: int


class ScrollStep(Answer):
    """How many sessions reached a depth."""

    depth_percent: int
    reached_count: int


class AttentionBand(Answer):
    """How long a band of the page was on the screen, per session."""

    y_start: int
    y_end: int
    avg_time_ms: int


class HeatMaps(Answer):
    """Maps of one page; those that were not asked for are null."""

    path: str
    period: Period
    total_sessions: int
    viewport: Viewport
    page_height: int | None
    click_map: list[ClickCell] | None
    scroll_map: list[ScrollStep] | None
    move_map: list[MoveCell] | None
    attention_map: list[AttentionBand] | None


class Element(Answer):
    """An element of a page; its share of all clicks on elements is from 0 to 1."""

    selector: str
    tag: str
    text: str
    clicks: int
    share: float


class Elements(RootModel[list[Element]]):
    """The most clicked first."""


class ActiveVisitor(Answer):
    """Somebody who is there now."""

    page: str
    country: str
    device: str
    since: str


class ActivePage(Answer):
    """A page with visitors; views are of the last five minutes, null while they cannot be told."""

    page: str
    visitors: int
    page_views: int | None


class ActiveVisitors(Answer):
    """Sessions with an event in the last five minutes; the list holds the 100 begun last."""

    visitors_now: int
    visitors: list[ActiveVisitor]
    by_page: list[ActivePage]


class UsageDay(Answer):
    """Events of one UTC day of receipt."""

    date: str
    received: int
    stored: int


class Kept(Answer):
    """What is stored of one kind, and for how many days it is kept."""

    rows: int
    first_day: str | None
    last_day: str | None
    retention_days: int


class Usage(Answer):
    """What a project used in a period, and what is kept of it."""

    period: Period
    events_used: int
    events_received: int
    by_day: list[UsageDay]
    kept: dict[str, Kept]
