"""Slow page: the first byte, the largest content or the load came too late.

In: page views and the reports of performance that follow them. Out: at most one finding for each
view of a page. A page opens at its view, or at its first report without one; it closes
`collect_ms` after the first report, at the next view of the same page key, or with the session.
Of each metric the largest value counts. Source: detectors.md, section 7.

With `late_vitals`, a page that was not slow until then goes on listening to `web_vitals` until its
next view, and a late one makes the finding at once. Browsers hold the largest paint as provisional
until the page is hidden, so the common way to report it is then: a visitor who stays longer than
`collect_ms` would otherwise make a slow page fast. (Source: web.dev/articles/lcp, "Measure LCP in
JavaScript"; the documented rule is the one without.)

A page that is closed is known until its next view, so that its later reports do not open it again:
at most `PAGES_MAX` of them, the oldest are dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from flows.core.insight import RELATED_MAX, Finding, Verdict
from flows.core.session_event import SessionEvent, Vitals
from schemas.detection_settings import ByPath, SlowPageParams

PAGES_MAX = 16  # Source: detectors.md, section 1.1.
# Names of the metrics that are judged, in order, and what reports call them.
METRICS = (("lcp", "lcp"), ("load", "load_complete"), ("ttfb", "ttfb"))
OPEN, LISTENING, SPENT = 0, 1, 2


class PageTimes(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One view of a page. `is_from_view`: its first event is the view, not a report."""

    key: str
    event_id: str
    at_ms: int
    url: str
    path: str
    is_from_view: bool
    stage: int = OPEN
    close_at_ms: int | None = None  # None: no report yet.
    last_ms: int = 0
    vitals: Vitals = Vitals()
    event_ids: tuple[str, ...] = ()


class SlowState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of one session: pages in the order of their views, and when the next one closes."""

    pages: tuple[PageTimes, ...]
    wake_at_ms: int | None


class SlowPage:
    """See the module."""

    insight_type = "slow_page"
    rule_version = 1
    kinds = frozenset({"page_view", "page_load", "web_vitals"})
    state_type = SlowState

    def __init__(
        self, params: ByPath[SlowPageParams] | None = None, *, explain: bool = False
    ) -> None:
        self._params = params or ByPath(SlowPageParams())
        self._explain = explain

    def on_event(
        self, state: SlowState | None, event: SessionEvent, now_ms: int
    ) -> tuple[SlowState | None, Sequence[Finding | Verdict]]:
        """Take a page view or a report."""
        made: list[Finding | Verdict] = []
        if state is not None:
            state = self._pass(state, event.at_ms - 1, made)
        pages = () if state is None else state.pages
        key = event.page.key
        known = next((page for page in pages if page.key == key), None)
        if event.kind == "page_view":
            if known is not None and known.stage == OPEN and known.close_at_ms is not None:
                self._close(known, made)
            return self._with(pages, self._opened(event, True), made), made
        if not isinstance(event.body, Vitals):
            return state, made
        if known is None:
            known = self._opened(event, False)
        if known.stage == SPENT or (known.stage == LISTENING and event.kind != "web_vitals"):
            return state, made
        page = self._joined(known, event, event.body)
        if page.stage == LISTENING:
            if not _reasons(page.vitals, self._params.of(page.path)):
                return state, made
            page = self._close(page, made)
        return self._with(pages, page, made, moves=False), made

    def on_time(
        self, state: SlowState, now_ms: int
    ) -> tuple[SlowState | None, Sequence[Finding | Verdict]]:
        """Judge the pages whose reports have had their time."""
        made: list[Finding | Verdict] = []
        return self._pass(state, now_ms, made), made

    def wake_at_ms(self, state: SlowState) -> int | None:
        """When the next page closes."""
        return state.wake_at_ms

    def provisional(self, state: SlowState) -> Sequence[Finding]:
        """Nothing: a slow page is a point."""
        return ()

    def _opened(self, event: SessionEvent, is_from_view: bool) -> PageTimes:
        page = event.page
        return PageTimes(
            page.key, event.event_id, event.at_ms, page.url, page.path, is_from_view,
            event_ids=(event.event_id,) if is_from_view else (),
        )  # fmt: skip

    def _joined(self, page: PageTimes, event: SessionEvent, vitals: Vitals) -> PageTimes:
        close_at_ms = page.close_at_ms
        if close_at_ms is None:
            close_at_ms = event.at_ms + self._params.of(page.path).collect_ms
        return msgspec.structs.replace(
            page,
            close_at_ms=close_at_ms,
            last_ms=event.at_ms,
            vitals=_largest(page.vitals, vitals),
            event_ids=(*page.event_ids, event.event_id)[:RELATED_MAX],
        )

    def _with(
        self,
        pages: Sequence[PageTimes],
        page: PageTimes,
        made: list[Finding | Verdict],
        *,
        moves: bool = True,
    ) -> SlowState:
        if not moves and any(other.key == page.key for other in pages):
            return _state(tuple([page if o.key == page.key else o for o in pages]))
        others = [other for other in pages if other.key != page.key]
        if len(others) >= PAGES_MAX:
            gone = others.pop(0)
            if gone.stage == OPEN and gone.close_at_ms is not None:
                self._close(gone, made)
        return _state((*others, page))

    def _pass(self, state: SlowState, now_ms: int, made: list[Finding | Verdict]) -> SlowState:
        if state.wake_at_ms is None or state.wake_at_ms > now_ms:
            return state
        due = [
            page
            for page in state.pages
            if page.stage == OPEN and page.close_at_ms is not None and page.close_at_ms <= now_ms
        ]
        due.sort(key=lambda page: (page.close_at_ms, page.at_ms))
        closed = {page.key: self._close(page, made) for page in due}
        return _state(tuple([closed.get(page.key, page) for page in state.pages]))

    def _close(self, page: PageTimes, made: list[Finding | Verdict]) -> PageTimes:
        """What is known of the page from now on."""
        params = self._params.of(page.path)
        reasons = _reasons(page.vitals, params)
        if self._explain or reasons:
            measured, limits = _values(page.vitals), _limits(params)
            if reasons and params.enabled:
                made.append(self._finding(page, reasons, params))
            if self._explain:
                outcome, reason = ("fired", "slow") if reasons else ("not_fired", "fast_enough")
                if not params.enabled:
                    outcome, reason = "not_judged", "disabled"
                made.append(
                    Verdict(
                        self.insight_type, page.event_id, outcome, reason,
                        measured, {name: limits[name] for name in measured}, page.event_ids,
                    )
                )  # fmt: skip
        listens = params.late_vitals and params.enabled and not reasons
        return PageTimes(
            page.key,
            page.event_id,
            page.at_ms,
            page.url if listens else "",
            page.path if listens else "",
            page.is_from_view,
            LISTENING if listens else SPENT,
            page.close_at_ms,
            page.last_ms,
            page.vitals if listens else Vitals(),
            page.event_ids if listens else (),
        )

    def _finding(self, page: PageTimes, reasons: list[str], params: SlowPageParams) -> Finding:
        values, limits = _values(page.vitals), _limits(params)
        # The largest ratio; of equal ones the first. Compared in whole numbers.
        metric = reasons[0]
        for name in reasons[1:]:
            if values[name] * limits[metric] > values[metric] * limits[name]:
                metric = name
        others: dict[str, Any] = {
            name: value
            for name in ("fcp", "fid", "inp", "cls")
            if (value := getattr(page.vitals, name)) is not None
        }
        return Finding(
            insight_type=self.insight_type,
            rule_version=self.rule_version,
            severity="medium",
            anchor_event_id=page.event_id,
            at_ms=page.at_ms,
            ended_at_ms=page.last_ms,
            url=page.url,
            path=page.path,
            x=None,
            y=None,
            target_selector=None,
            details={
                "url": page.url,
                "load_time_ms": values[metric],
                "threshold_ms": limits[metric],
                "metric": metric,
                "reasons": reasons,
                "lcp": page.vitals.lcp,
                "ttfb": page.vitals.ttfb,
                "load_complete": page.vitals.load_complete,
                **others,
            },
            related_event_ids=page.event_ids,
        )


def _state(pages: tuple[PageTimes, ...]) -> SlowState:
    wake_at_ms = None
    for page in pages:
        close_at_ms = page.close_at_ms
        if page.stage == OPEN and close_at_ms is not None:
            wake_at_ms = close_at_ms if wake_at_ms is None else min(wake_at_ms, close_at_ms)
    return SlowState(pages, wake_at_ms)


def _values(vitals: Vitals) -> dict[str, int]:
    """What was reported of the judged metrics, in their order."""
    return {
        name: value for name, member in METRICS if (value := getattr(vitals, member)) is not None
    }


def _limits(params: SlowPageParams) -> dict[str, int]:
    return {
        "lcp": params.lcp_threshold_ms,
        "load": params.load_threshold_ms,
        "ttfb": params.ttfb_threshold_ms,
    }


def _reasons(vitals: Vitals, params: SlowPageParams) -> list[str]:
    """Names of the metrics that are above their limit, in order."""
    limits = _limits(params)
    return [name for name, value in _values(vitals).items() if value > limits[name]]


def _largest(one: Vitals, other: Vitals) -> Vitals:
    return Vitals(
        *(
            b if a is None else a if b is None else max(a, b)
            for a, b in zip(
                msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True
            )
        )
    )
