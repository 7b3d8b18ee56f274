"""Rage clicks by the published rules of PostHog and Datadog.

In: clicks of one session. Out: findings of the same type as `rage_click` makes. Both follow one
chain of clicks, each close to the one before. PostHog finds it once, exactly at the last of
`min_clicks`; Datadog when the chain has ended, if anywhere in it `min_clicks` came within
`time_window_ms`. Source: mission-map.md, section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flows.core.detectors.bursts import Burst, RecentClick, burst_finding, joined
from flows.core.insight import RELATED_MAX, Finding, Verdict
from flows.core.session_event import Click, SessionEvent
from schemas.detection_settings import ByPath, RageClickParams


class ChainState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The chain of clicks that goes on; `times` are those of its latest clicks.

    `shortest_ms` is the least time that `min_clicks` of them took; None: there are fewer.
    """

    key: str
    clicks: Burst
    last: RecentClick
    times: tuple[int, ...]
    is_rage: bool
    wake_at_ms: int
    shortest_ms: int | None = None


class _ChainRage:
    insight_type = "rage_click"
    rule_version = 1
    kinds = frozenset({"click"})
    state_type = ChainState

    def __init__(
        self,
        params: ByPath[RageClickParams],
        *,
        ignored: frozenset[str] = frozenset(),
        explain: bool = False,
    ) -> None:
        self._params = params
        self._ignored = ignored
        self._explain = explain

    def on_event(
        self, state: ChainState | None, event: SessionEvent, now_ms: int
    ) -> tuple[ChainState | None, Sequence[Finding | Verdict]]:
        """Take one click."""
        made: list[Finding | Verdict] = []
        if state is not None and state.wake_at_ms < event.at_ms:
            self._end(state, made)
            state = None
        click, page = event.body, event.page
        params = self._params.of(page.path)
        if (
            not isinstance(click, Click)
            or not click.is_left
            or click.x is None
            or click.y is None
            or not params.enabled
            or click.target.selector in self._ignored
        ):
            if self._explain:
                made.append(Verdict("rage_click", event.event_id, "not_judged", "not_counted"))
            return state, made
        own = RecentClick(
            event.event_id, event.at_ms, click.x, click.y, click.target.selector,
            page.url, page.path,
        )  # fmt: skip
        if state is not None and not (
            state.key == page.key and self._follows(state.last, own, params)
        ):
            self._end(state, made)
            state = None
        clicks = joined(None if state is None else state.clicks, (own,), RELATED_MAX)
        times = (*(() if state is None else state.times), own.at_ms)[-params.min_clicks :]
        is_rage = state is not None and state.is_rage
        if not is_rage and self._is_rage(times, params):
            is_rage = True
            self._found(clicks, params, made)
        wake_at_ms = own.at_ms + params.time_window_ms
        shortest_ms = None if state is None else state.shortest_ms
        if len(times) == params.min_clicks:
            span_ms = times[-1] - times[0]
            shortest_ms = span_ms if shortest_ms is None else min(shortest_ms, span_ms)
        return ChainState(page.key, clicks, own, times, is_rage, wake_at_ms, shortest_ms), made

    def on_time(
        self, state: ChainState, now_ms: int
    ) -> tuple[ChainState | None, Sequence[Finding | Verdict]]:
        """The chain has ended."""
        if state.wake_at_ms > now_ms:
            return state, ()
        made: list[Finding | Verdict] = []
        self._end(state, made)
        return None, made

    def wake_at_ms(self, state: ChainState) -> int | None:
        """When the chain has ended."""
        return state.wake_at_ms

    def provisional(self, state: ChainState) -> Sequence[Finding]:
        """What would be found if nothing more happened."""
        return ()

    def _follows(self, last: RecentClick, own: RecentClick, params: RageClickParams) -> bool:
        raise NotImplementedError

    def _is_rage(self, times: tuple[int, ...], params: RageClickParams) -> bool:
        raise NotImplementedError

    def _found(self, clicks: Burst, params: RageClickParams, made: list[Finding | Verdict]) -> None:
        """The chain has become rage."""

    def _end(self, state: ChainState, made: list[Finding | Verdict]) -> None:
        """The chain is over."""
        if self._explain:
            params = self._params.of(state.clicks.path)
            measured, limits = {"clicks": state.clicks.click_count}, {"clicks": params.min_clicks}
            reason = "chain" if state.is_rage else "too_few_clicks"
            if not state.is_rage and state.shortest_ms is not None:
                reason = "too_slow"
                measured["duration_ms"] = state.shortest_ms
                limits["duration_ms"] = params.time_window_ms
            for place, event_id in enumerate(state.clicks.event_ids):
                outcome = "not_fired" if not state.is_rage else "part" if place else "fired"
                made.append(
                    Verdict(
                        "rage_click", event_id, outcome, reason, measured, limits,
                        state.clicks.event_ids,
                    )
                )  # fmt: skip


class PostHogRage(_ChainRage):
    """Each click less than the window and less than the radius, over both axes, from the last."""

    def _follows(self, last: RecentClick, own: RecentClick, params: RageClickParams) -> bool:
        return (
            own.at_ms - last.at_ms < params.time_window_ms
            and abs(own.x - last.x) + abs(own.y - last.y) < params.radius_px
        )

    def _is_rage(self, times: tuple[int, ...], params: RageClickParams) -> bool:
        return len(times) == params.min_clicks

    def _found(self, clicks: Burst, params: RageClickParams, made: list[Finding | Verdict]) -> None:
        made.append(burst_finding(clicks, params.time_window_ms))


class DatadogRage(_ChainRage):
    """Each click on the same target, within the window and the radius of the last."""

    def provisional(self, state: ChainState) -> Sequence[Finding]:
        """The chain, once it is rage."""
        if not state.is_rage:
            return ()
        window_ms = self._params.of(state.clicks.path).time_window_ms
        return (burst_finding(state.clicks, window_ms),)

    def _follows(self, last: RecentClick, own: RecentClick, params: RageClickParams) -> bool:
        square = (own.x - last.x) ** 2 + (own.y - last.y) ** 2
        return (
            own.at_ms - last.at_ms <= params.time_window_ms
            and square <= params.radius_px**2
            and own.selector == last.selector
        )

    def _is_rage(self, times: tuple[int, ...], params: RageClickParams) -> bool:
        return len(times) == params.min_clicks and times[-1] - times[0] <= params.time_window_ms

    def _end(self, state: ChainState, made: list[Finding | Verdict]) -> None:
        if state.is_rage:
            window_ms = self._params.of(state.clicks.path).time_window_ms
            made.append(burst_finding(state.clicks, window_ms))
        super()._end(state, made)
