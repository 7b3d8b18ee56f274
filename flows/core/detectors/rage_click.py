"""Rage click: many clicks at one place in a short time.

In: clicks of one session. Out: one finding a burst, when it is over. A burst opens when
`min_clicks` clicks within `time_window_ms` lie within `radius_px` of their mean, takes each further
click that comes within the window of its last and the radius of its centre, and closes after a
quiet window or at the cap. Each page key has its own. Distances are compared in whole numbers.
Source: detectors.md, section 2.

State is bounded: pages, recent clicks, ids and selectors of a burst are limited; of the points of
a long burst only those are kept that could be the farthest from its centre.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flows.core.detectors.bursts import Burst, RecentClick, burst_finding, is_within, joined
from flows.core.detectors.detector import Opening
from flows.core.insight import RELATED_MAX, Finding, Verdict
from flows.core.session_event import Click, SessionEvent
from schemas.detection_settings import ByPath, RageClickParams

PAGES_MAX = 16  # Source: detectors.md, section 1.1.
RECENT_MAX = 100


class RagePage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Clicks of one page key. `wake_at_ms`: when the burst is over, or all clicks too old."""

    key: str
    recent: tuple[RecentClick, ...]
    burst: Burst | None
    wake_at_ms: int


class RageState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of one session: pages in the order of their last click."""

    pages: tuple[RagePage, ...]


class RageClick:
    """See the module. `ignored` are selectors whose clicks do not count."""

    insight_type = "rage_click"
    rule_version = 1
    kinds = frozenset({"click"})
    state_type = RageState

    def __init__(
        self,
        params: ByPath[RageClickParams] | None = None,
        *,
        ignored: frozenset[str] = frozenset(),
        max_episode_ms: int = 60_000,
        explain: bool = False,
    ) -> None:
        self._params = params or ByPath(RageClickParams())
        self._ignored = ignored
        self._max_episode_ms = max_episode_ms
        self._explain = explain
        self._ids_max = RECENT_MAX**2 if explain else RELATED_MAX
        self.opening = Opening(
            "click",
            min(each.min_clicks for each in self._params.all),
            max(each.time_window_ms for each in self._params.all),
        )

    def on_event(
        self, state: RageState | None, event: SessionEvent, now_ms: int
    ) -> tuple[RageState | None, Sequence[Finding | Verdict]]:
        """Take one click."""
        made: list[Finding | Verdict] = []
        if state is not None:
            state = self._pass(state, event.at_ms - 1, made)
        click = event.body
        params = self._params.of(event.page.path)
        why = self._why_not(click, params)
        if why:
            if self._explain:
                made.append(Verdict(self.insight_type, event.event_id, "not_judged", why))
            return state, made
        assert isinstance(click, Click)
        pages = () if state is None else state.pages
        key = event.page.key
        page = next((page for page in pages if page.key == key), None)
        taken = self._take(page, event, click, params, made)
        others = [other for other in pages if other.key != key]
        if len(others) >= PAGES_MAX:
            self._drop(others.pop(0), made)
        return RageState((*others, taken)), made

    def on_time(
        self, state: RageState, now_ms: int
    ) -> tuple[RageState | None, Sequence[Finding | Verdict]]:
        """Close bursts that are over, forget clicks that are too old."""
        made: list[Finding | Verdict] = []
        return self._pass(state, now_ms, made), made

    def wake_at_ms(self, state: RageState) -> int | None:
        """The earliest end of a page's burst or clicks."""
        return _wake_at_ms(state)

    def decides(self, state: RageState) -> bool:
        """Whether a burst is open: clicks alone are only forgotten."""
        return any(page.burst is not None for page in state.pages)

    def needed(self, events: Sequence[SessionEvent], last_ms: int) -> Sequence[SessionEvent]:
        """All if they may open a burst, else those that later clicks may open one with."""
        _, least, within_ms = self.opening
        for one, last in zip(events, events[least - 1 :], strict=False):
            if last.at_ms - one.at_ms <= within_ms:
                return events
        from_ms = last_ms - within_ms
        return [event for event in events if event.at_ms > from_ms]

    def provisional(self, state: RageState) -> Sequence[Finding]:
        """The bursts that are open, as they are."""
        return [self._finding(page.burst) for page in state.pages if page.burst is not None]

    def _finding(self, burst: Burst) -> Finding:
        return burst_finding(burst, self._params.of(burst.path).time_window_ms)

    def _why_not(self, click: object, params: RageClickParams) -> str:
        if not isinstance(click, Click):
            return "no_click"
        if not click.is_left:
            return "not_the_left_button"
        if click.x is None or click.y is None:
            return "by_keyboard"
        if not params.enabled:
            return "disabled"
        return "ignored_selector" if click.target.selector in self._ignored else ""

    def _take(
        self,
        page: RagePage | None,
        event: SessionEvent,
        click: Click,
        params: RageClickParams,
        made: list[Finding | Verdict],
    ) -> RagePage:
        """The page with this click; numbers as in the four steps of the rule."""
        window_ms, radius = params.time_window_ms, params.radius_px
        at_ms, x, y = event.at_ms, click.x, click.y
        assert x is not None
        assert y is not None
        own = RecentClick(
            event.event_id, at_ms, x, y, click.target.selector, event.page.url, event.page.path
        )
        recent: tuple[RecentClick, ...] = ()
        burst = None
        if page is not None:
            recent, burst = page.recent, page.burst
        # 1: a burst that is over was closed before this click was looked at.
        if burst is not None and is_within(
            x, y, burst.sum_x, burst.sum_y, burst.click_count, radius
        ):
            burst = joined(burst, (own,), self._ids_max)
            return self._page(event.page.key, recent, burst, window_ms)
        kept = [one for one in recent if one.at_ms >= at_ms - window_ms]  # 2
        if self._explain and len(kept) < len(recent):
            self._tell_missed(recent[: len(recent) - len(kept)], params, made)
        if len(kept) >= RECENT_MAX:
            if self._explain:
                self._tell_missed(kept[:1], params, made)
            del kept[0]
        kept.append(own)
        group = _group(kept, own, radius)  # 3
        if len(group) >= params.min_clicks:  # 4
            if burst is not None:
                self._close(burst, made)
            burst = joined(None, group, self._ids_max)
            taken = {one.event_id for one in group}
            kept = [one for one in kept if one.event_id not in taken]
        elif self._explain:
            kept = _with_group(kept, group)
        return self._page(event.page.key, tuple(kept), burst, window_ms)

    def _page(
        self, key: str, recent: tuple[RecentClick, ...], burst: Burst | None, window_ms: int
    ) -> RagePage:
        if burst is None:
            return RagePage(key, recent, None, recent[-1].at_ms + window_ms)
        ends_ms = min(burst.last_ms + window_ms, burst.first_ms + self._max_episode_ms)
        return RagePage(key, recent, burst, ends_ms)

    def _pass(
        self, state: RageState, now_ms: int, made: list[Finding | Verdict]
    ) -> RageState | None:
        """What is left when all events until `now_ms` have come."""
        if _wake_at_ms(state) > now_ms:
            return state
        pages: list[RagePage] = []
        for page in sorted(state.pages, key=lambda page: page.wake_at_ms):
            if page.wake_at_ms > now_ms:
                pages.append(page)
                continue
            if page.burst is None:
                self._drop(page, made)
                continue
            self._close(page.burst, made)
            # What came after the burst's last click may still begin a new one.
            window_ms = self._params.of(page.burst.path).time_window_ms
            kept = tuple(one for one in page.recent if one.at_ms + window_ms > now_ms)
            if self._explain and len(kept) < len(page.recent):
                gone = page.recent[: len(page.recent) - len(kept)]
                self._tell_missed(gone, self._params.of(page.burst.path), made)
            if kept:
                pages.append(self._page(page.key, kept, None, window_ms))
        order = {page.key: place for place, page in enumerate(state.pages)}
        pages.sort(key=lambda page: order[page.key])
        return RageState(tuple(pages)) if pages else None

    def _drop(self, page: RagePage, made: list[Finding | Verdict]) -> None:
        if page.burst is not None:
            self._close(page.burst, made)
        if self._explain and page.recent:
            self._tell_missed(page.recent, self._params.of(page.recent[0].path), made)

    def _close(self, burst: Burst, made: list[Finding | Verdict]) -> None:
        finding = self._finding(burst)
        made.append(finding)
        if self._explain:
            limits = _limits(self._params.of(burst.path))
            measured = {
                "clicks": burst.click_count,
                "duration_ms": finding.details["duration_ms"],
                "radius_px": finding.details["radius"],
            }
            for place, event_id in enumerate(burst.event_ids):
                outcome = "part" if place else "fired"
                made.append(
                    Verdict(
                        self.insight_type, event_id, outcome, "burst", measured, limits,
                        finding.related_event_ids,
                    )
                )  # fmt: skip

    def _tell_missed(
        self,
        clicks: Sequence[RecentClick],
        params: RageClickParams,
        made: list[Finding | Verdict],
    ) -> None:
        made.extend(
            Verdict(
                self.insight_type, one.event_id, "not_fired", "too_few_clicks",
                {"clicks": len(one.near)}, _limits(params), one.near,
            )
            for one in clicks
        )  # fmt: skip


def _wake_at_ms(state: RageState) -> int:
    pages = state.pages
    if len(pages) == 1:
        return pages[0].wake_at_ms
    return min([page.wake_at_ms for page in pages])


def _limits(params: RageClickParams) -> dict[str, int]:
    return {
        "clicks": params.min_clicks,
        "duration_ms": params.time_window_ms,
        "radius_px": params.radius_px,
    }


def _group(clicks: Sequence[RecentClick], own: RecentClick, radius: int) -> list[RecentClick]:
    """The clicks about `own` that lie within the radius of their mean; at least `own`."""
    reach = 4 * radius * radius
    group = [
        one
        for one in clicks
        if (one.x - own.x) * (one.x - own.x) + (one.y - own.y) * (one.y - own.y) <= reach
    ]
    while True:
        count = len(group)
        sum_x, sum_y = sum(one.x for one in group), sum(one.y for one in group)
        if all(is_within(one.x, one.y, sum_x, sum_y, count, radius) for one in group):
            return group
        # The first of the farthest ones is the oldest.
        farthest = max(
            (one for one in group if one is not own),
            key=lambda one: (count * one.x - sum_x) ** 2 + (count * one.y - sum_y) ** 2,
        )
        group.remove(farthest)


def _with_group(clicks: list[RecentClick], group: list[RecentClick]) -> list[RecentClick]:
    """The clicks, each knowing the largest group it was in."""
    ids = tuple(one.event_id for one in group)
    return [
        msgspec.structs.replace(one, near=ids)
        if one.event_id in ids and len(ids) > len(one.near)
        else one
        for one in clicks
    ]
