"""Dead click: what looks as if it could be clicked does not answer.

In: clicks, and the events by which a page answers. Out: one finding for each click that no fitting
event answered within the window; a further one on the same element soon after the last is the same
one and not found again. An event at the very millisecond of the click answers it, whichever of the
two is told first. Source: detectors.md, section 3; the rows are in `dead_rules`.

State is bounded: at most `PENDING_MAX` clicks wait at a time, a further one is not judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import msgspec

from flows.core.detectors.dead_rules import ANSWER_KINDS, ROWS, DeadRule, gosight_rule
from flows.core.insight import Finding, Verdict
from flows.core.session_event import Click, SessionEvent
from schemas.detection_settings import ByPath, DeadClickParams

PENDING_MAX = 100
FOLDS_MAX = 50


class PendingClick(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A click that waits for its answer until `decide_at_ms`."""

    event_id: str
    at_ms: int
    decide_at_ms: int
    row: str
    x: int | None
    y: int | None
    url: str
    path: str
    key: str
    selector: str
    tag: str
    name: str


class DeadFold(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The last dead click on an element."""

    key: str
    selector: str
    at_ms: int
    until_ms: int
    event_id: str


class DeadState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of one session. `heard` are the kinds of answers that came at `heard_at_ms`, with an id."""

    pending: tuple[PendingClick, ...] = ()
    folds: tuple[DeadFold, ...] = ()
    heard_at_ms: int = 0
    heard: tuple[tuple[str, str], ...] = ()


class DeadClick:
    """See the module. `ignored` are selectors whose clicks are not judged."""

    insight_type = "dead_click"
    rule_version = 1
    kinds = frozenset({"click"}) | ANSWER_KINDS
    state_type = DeadState

    def __init__(
        self,
        params: ByPath[DeadClickParams] | None = None,
        *,
        rule: DeadRule = gosight_rule,
        ignored: frozenset[str] = frozenset(),
        explain: bool = False,
    ) -> None:
        self._params = params or ByPath(DeadClickParams())
        self._rule = rule
        self._ignored = ignored
        self._explain = explain
        self._window_ms = max(each.observation_window_ms for each in self._params.all)

    def on_event(
        self, state: DeadState | None, event: SessionEvent, now_ms: int
    ) -> tuple[DeadState | None, Sequence[Finding | Verdict]]:
        """Take a click, or an answer to earlier ones."""
        made: list[Finding | Verdict] = []
        if state is not None:
            state = self._pass(state, event.at_ms - 1, made)
        if event.kind == "click":
            return self._take(state, event, made), made
        if state is None:
            heard = ((event.kind, event.event_id),)
            return DeadState((), (), event.at_ms, heard), made
        return self._answer(state, event, made), made

    def on_time(
        self, state: DeadState, now_ms: int
    ) -> tuple[DeadState | None, Sequence[Finding | Verdict]]:
        """Judge the clicks whose window is over."""
        made: list[Finding | Verdict] = []
        return self._pass(state, now_ms, made), made

    def wake_at_ms(self, state: DeadState) -> int | None:
        """When the first click is decided, or nothing is worth knowing any more."""
        if state.pending:
            return min([click.decide_at_ms for click in state.pending])
        if state.folds:
            return max([fold.until_ms for fold in state.folds])
        return state.heard_at_ms

    def decides(self, state: DeadState) -> bool:
        """Whether a click waits: all else is only forgotten."""
        return bool(state.pending)

    def needed(self, events: Sequence[SessionEvent], last_ms: int) -> Sequence[SessionEvent]:
        """Clicks that nothing answers so far."""
        clicks = [place for place, event in enumerate(events) if event.kind == "click"]
        if len(clicks) > PENDING_MAX:
            return events
        return [events[place] for place in clicks if self._is_unanswered(events, place)]

    def _is_unanswered(self, events: Sequence[SessionEvent], place: int) -> bool:
        """Whether the click there is judged, and none of these events answers it."""
        click = events[place]
        at_ms = click.at_ms
        params = self._params.of(click.page.path)
        row, why = self._judged(click, params)
        if why:
            return False
        expectation = ROWS[row]
        while place and events[place - 1].at_ms == at_ms:
            place -= 1
        for event in islice(events, place, None):
            after_ms = event.at_ms - at_ms
            if after_ms > params.observation_window_ms:
                break
            if expectation.is_answered(event.kind, after_ms):
                return False
        return True

    def provisional(self, state: DeadState) -> Sequence[Finding]:
        """Nothing: a dead click is a point."""
        return ()

    def _judged(self, event: SessionEvent, params: DeadClickParams) -> tuple[str, str]:
        """The row by which a click is judged, or why it is not."""
        click = event.body
        if not isinstance(click, Click):
            return "", "no_click"
        if not click.is_left:
            return "", "not_the_left_button"
        if not params.enabled:
            return "", "disabled"
        if click.target.selector in self._ignored:
            return "", "ignored_selector"
        return self._rule(click)

    def _take(
        self, state: DeadState | None, event: SessionEvent, made: list[Finding | Verdict]
    ) -> DeadState | None:
        click, page = event.body, event.page
        params = self._params.of(page.path)
        row, why = self._judged(event, params)
        state = state or DeadState()
        if not why and len(state.pending) >= PENDING_MAX:
            why = "too_many_clicks"
        if why:
            if self._explain:
                made.append(Verdict(self.insight_type, event.event_id, "not_judged", why))
            return state if state != DeadState() else None
        assert isinstance(click, Click)
        expectation = ROWS[row]
        if state.heard_at_ms == event.at_ms:
            for kind, event_id in state.heard:
                if kind in expectation.answers:
                    if self._explain:
                        made.append(self._answered(event.event_id, row, params, kind, event_id, 0))
                    return state
        target = click.target
        waiting = PendingClick(
            event.event_id,
            event.at_ms,
            event.at_ms + params.observation_window_ms,
            row,
            click.x,
            click.y,
            page.url,
            page.path,
            page.key,
            target.selector,
            target.tag,
            target.name,
        )
        return DeadState((*state.pending, waiting), state.folds, state.heard_at_ms, state.heard)

    def _answer(
        self, state: DeadState, event: SessionEvent, made: list[Finding | Verdict]
    ) -> DeadState:
        kind, at_ms = event.kind, event.at_ms
        left: list[PendingClick] = []
        for click in state.pending:
            expectation = ROWS[click.row]
            after_ms = at_ms - click.at_ms
            # Those that are still here are within the observation window.
            if not expectation.is_answered(kind, after_ms):
                left.append(click)
            elif self._explain:
                made.append(
                    self._answered(
                        click.event_id, click.row, self._params.of(click.path), kind,
                        event.event_id, after_ms,
                    )
                )  # fmt: skip
        heard: tuple[tuple[str, str], ...] = ((kind, event.event_id),)
        if state.heard_at_ms == at_ms:
            known = {kind for kind, _ in state.heard}
            heard = state.heard if kind in known else (*state.heard, *heard)
        folds = _needed(state.folds, left, at_ms) if state.folds else ()
        return DeadState(tuple(left), folds, at_ms, heard)

    def _pass(
        self, state: DeadState, now_ms: int, made: list[Finding | Verdict]
    ) -> DeadState | None:
        """What is left when all events until `now_ms` have come."""
        pending, folds = state.pending, state.folds
        if not pending and not folds:
            return state if state.heard_at_ms > now_ms else None
        due = [click for click in pending if click.decide_at_ms <= now_ms]
        if due:
            due.sort(key=lambda click: (click.decide_at_ms, click.at_ms, click.event_id))
            for click in due:
                folds = self._dead(click, folds, made)
            pending = tuple([click for click in pending if click.decide_at_ms > now_ms])
        if folds:
            folds = _needed(folds, pending, now_ms + 1)
        if state.heard_at_ms > now_ms:
            return DeadState(pending, folds, state.heard_at_ms, state.heard)
        return DeadState(pending, folds) if pending or folds else None

    def _dead(
        self, click: PendingClick, folds: tuple[DeadFold, ...], made: list[Finding | Verdict]
    ) -> tuple[DeadFold, ...]:
        params = self._params.of(click.path)
        expectation = ROWS[click.row]
        same = next((f for f in folds if f.key == click.key and f.selector == click.selector), None)
        fold = DeadFold(
            click.key, click.selector, click.at_ms, click.at_ms + params.rearm_ms, click.event_id
        )
        rest = tuple([f for f in folds if f is not same])[-FOLDS_MAX + 1 :]
        limits = {"observation_window_ms": params.observation_window_ms}
        if same is not None and click.at_ms <= same.until_ms:
            if self._explain:
                since_ms = click.at_ms - same.at_ms
                made.append(
                    Verdict(
                        self.insight_type, click.event_id, "part", "repeated",
                        {"since_last_ms": since_ms}, {"since_last_ms": params.rearm_ms},
                        (same.event_id,),
                    )
                )  # fmt: skip
            return (*rest, fold)
        made.append(
            Finding(
                insight_type=self.insight_type,
                rule_version=self.rule_version,
                severity="medium",
                anchor_event_id=click.event_id,
                at_ms=click.at_ms,
                ended_at_ms=click.at_ms,
                url=click.url,
                path=click.path,
                x=click.x,
                y=click.y,
                target_selector=click.selector,
                details={
                    "reason": expectation.reason,
                    "expected": expectation.expected,
                    "observation_window_ms": params.observation_window_ms,
                    "target_tag": click.tag,
                    "target_name": click.name,
                },
                related_event_ids=(click.event_id,),
            )
        )
        if self._explain:
            made.append(
                Verdict(
                    self.insight_type, click.event_id, "fired", expectation.reason,
                    {"answer_ms": None}, {"answer_ms": params.observation_window_ms, **limits},
                    (click.event_id,),
                )
            )  # fmt: skip
        return (*rest, fold)

    def _answered(
        self,
        event_id: str,
        row: str,
        params: DeadClickParams,
        kind: str,
        answer_id: str,
        after_ms: int,
    ) -> Verdict:
        limit_ms = ROWS[row].within_ms.get(kind, params.observation_window_ms)
        return Verdict(
            self.insight_type, event_id, "not_fired", "answered",
            {"answer_ms": after_ms, "answer": kind}, {"answer_ms": limit_ms}, (answer_id,),
        )  # fmt: skip


def _needed(
    folds: tuple[DeadFold, ...], pending: Sequence[PendingClick], now_ms: int
) -> tuple[DeadFold, ...]:
    """The folds that a click may still belong to: one that waits, or one from now on."""
    oldest_ms = min([click.at_ms for click in pending], default=now_ms)
    return tuple([fold for fold in folds if fold.until_ms >= oldest_ms])
