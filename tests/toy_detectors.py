"""Small detectors with every habit that the machine must cope with, and rules that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

from flows.core.detectors.dead_click import DeadClick
from flows.core.detectors.detector import Detector
from flows.core.detectors.error_click import ErrorClick
from flows.core.detectors.rage_click import RageClick
from flows.core.detectors.slow_page import SlowPage
from flows.core.detectors.thrashed_cursor import ThrashedCursor
from flows.core.detectors.u_turn import UTurn
from flows.core.insight import Finding
from flows.core.session_event import SessionEvent

Made = Sequence[Finding]


@dataclass(frozen=True)
class ToyRules:
    """Rules of one project with these detectors."""

    made: tuple[Detector[Any], ...]
    hold_ms: int = 6_000
    currency: str = ""

    def detectors(self, explain: bool = False) -> tuple[Detector[Any], ...]:
        """All of them."""
        return self.made


def finding(name: str, events: Sequence[SessionEvent], ended_at_ms: int, **details: Any) -> Finding:
    """What was found; the first event is the anchor."""
    first = events[0]
    return Finding(
        insight_type=name,
        rule_version=1,
        severity="low",
        anchor_event_id=first.event_id,
        at_ms=first.at_ms,
        ended_at_ms=ended_at_ms,
        url=first.page.url,
        path=first.page.path,
        x=None,
        y=None,
        target_selector=None,
        details=details,
        related_event_ids=tuple(event.event_id for event in events),
    )


class Burst(msgspec.Struct, frozen=True, array_like=True):
    """Clicks that follow each other."""

    clicks: tuple[SessionEvent, ...]


class Bursts:
    """An episode: three clicks or more, each within 2 s of the one before; told when it ends."""

    insight_type = "burst"
    rule_version = 1
    kinds: ClassVar[frozenset[str]] = frozenset({"click"})
    state_type = Burst

    def on_event(
        self, state: Burst | None, event: SessionEvent, now_ms: int
    ) -> tuple[Burst | None, Made]:
        """A click goes on with the burst or begins one."""
        if state is None or now_ms - state.clicks[-1].at_ms > 2_000:
            return Burst((event,)), self.provisional(state) if state is not None else ()
        return Burst((*state.clicks, event)), ()

    def on_time(self, state: Burst, now_ms: int) -> tuple[Burst | None, Made]:
        """Two seconds without a click end it."""
        return None, self.provisional(state)

    def wake_at_ms(self, state: Burst) -> int | None:
        """After the last click."""
        return state.clicks[-1].at_ms + 2_000

    def provisional(self, state: Burst) -> Made:
        """The burst so far."""
        clicks = state.clicks
        if len(clicks) < 3:
            return ()
        return (finding("burst", clicks, clicks[-1].at_ms, count=len(clicks)),)


class Pending(msgspec.Struct, frozen=True, array_like=True):
    """Clicks that wait for an answer."""

    clicks: tuple[SessionEvent, ...]


class Unanswered:
    """A point: a click with no answer within a second."""

    insight_type = "unanswered"
    rule_version = 1
    kinds: ClassVar[frozenset[str]] = frozenset({"click", "custom_event", "page_view"})
    state_type = Pending

    def on_event(
        self, state: Pending | None, event: SessionEvent, now_ms: int
    ) -> tuple[Pending | None, Made]:
        """Anything but a click answers all that wait."""
        if event.kind != "click":
            return None, ()
        clicks = state.clicks if state is not None else ()
        return Pending((*clicks, event)), ()

    def on_time(self, state: Pending, now_ms: int) -> tuple[Pending | None, Made]:
        """Those that waited long enough."""
        due = [click for click in state.clicks if click.at_ms + 1_000 <= now_ms]
        left = state.clicks[len(due) :]
        made = [finding("unanswered", [click], click.at_ms) for click in due]
        return (Pending(left) if left else None), made

    def wake_at_ms(self, state: Pending) -> int | None:
        """That of the oldest."""
        return state.clicks[0].at_ms + 1_000

    def provisional(self, state: Pending) -> Made:
        """Points are not announced."""
        return ()


class Trail(msgspec.Struct, frozen=True, array_like=True):
    """The last page views."""

    views: tuple[SessionEvent, ...]


class Returns:
    """Never wakes: a page view of the page before the last one."""

    insight_type = "returned"
    rule_version = 1
    kinds: ClassVar[frozenset[str]] = frozenset({"page_view"})
    state_type = Trail

    def on_event(
        self, state: Trail | None, event: SessionEvent, now_ms: int
    ) -> tuple[Trail | None, Made]:
        """Compare with the view before the last."""
        views = state.views if state is not None else ()
        if len(views) == 2 and views[0].page.key == event.page.key:
            return Trail((event,)), [finding("returned", [event, *views], now_ms)]
        return Trail((*views, event)[-2:]), ()

    def on_time(self, state: Trail, now_ms: int) -> tuple[Trail | None, Made]:
        """Nothing is ever due."""
        raise AssertionError

    def wake_at_ms(self, state: Trail) -> int | None:
        """Never."""
        return None

    def provisional(self, state: Trail) -> Made:
        """Points are not announced."""
        return ()


class Faulty(Bursts):
    """Raises at its second click, or when time passes, or never moves on."""

    insight_type = "faulty"

    def __init__(self, fault: str) -> None:
        self._fault = fault

    def on_event(
        self, state: Burst | None, event: SessionEvent, now_ms: int
    ) -> tuple[Burst | None, Made]:
        """Raise, maybe."""
        if self._fault == "on_event" and state is not None:
            raise ValueError("no second click")
        return super().on_event(state, event, now_ms)

    def on_time(self, state: Burst, now_ms: int) -> tuple[Burst | None, Made]:
        """Raise or stand still, maybe."""
        if self._fault == "on_time":
            raise ValueError("no time")
        if self._fault == "stands_still":
            return state, ()
        return super().on_time(state, now_ms)


TOYS: tuple[Detector[Any], ...] = (Bursts(), Unanswered(), Returns())
SIX: tuple[Detector[Any], ...] = (
    RageClick(),
    DeadClick(),
    ErrorClick(),
    ThrashedCursor(),
    UTurn(),
    SlowPage(),
)
