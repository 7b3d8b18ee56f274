"""Error click: a script fails at once after a click.

In: clicks, errors and rejections without a handler. Out: one finding for each click that an error
is blamed on: the latest click up to `error_window_ms` before the error, each click at most once,
for the first of its errors. The same error on the same element soon after is the same one and not
found again. Source: detectors.md, section 4.

An error is judged when its millisecond is over, so that a click told after it in the same
millisecond counts. Only the latest click can be blamed, so state is that click, the errors of the
current millisecond, and the last one of each kind for a while.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flows.core.insight import Finding, Verdict
from flows.core.session_event import Click, PageError, SessionEvent
from schemas.detection_settings import ByPath, ErrorClickParams

ERRORS_MAX = 20  # Of one millisecond.
FOLDS_MAX = 20
MESSAGE_CHARS_MAX = 1_024  # Of the details; stored whole with the error's event.


class LastClick(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The latest click; `blamed` is the id of the error that it was blamed for."""

    event_id: str
    at_ms: int
    until_ms: int
    x: int | None
    y: int | None
    url: str
    path: str
    key: str
    selector: str
    blamed: str = ""


class WaitingError(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An error of the current millisecond."""

    event_id: str
    at_ms: int
    message: str
    error_type: str


class ErrorFold(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The last click that such an error was blamed on."""

    key: str
    selector: str
    error_type: str
    message: str
    at_ms: int
    until_ms: int
    event_id: str


class ErrorState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Of one session."""

    click: LastClick | None = None
    waiting: tuple[WaitingError, ...] = ()
    folds: tuple[ErrorFold, ...] = ()


class ErrorClick:
    """See the module. `ignored` are selectors whose clicks are never blamed."""

    insight_type = "error_click"
    rule_version = 1
    kinds = frozenset({"click", "js_error", "unhandled_rejection"})
    state_type = ErrorState

    def __init__(
        self,
        params: ByPath[ErrorClickParams] | None = None,
        *,
        ignored: frozenset[str] = frozenset(),
        explain: bool = False,
    ) -> None:
        self._params = params or ByPath(ErrorClickParams())
        self._ignored = ignored
        self._explain = explain
        self._window_ms = max(each.error_window_ms for each in self._params.all)

    def on_event(
        self, state: ErrorState | None, event: SessionEvent, now_ms: int
    ) -> tuple[ErrorState | None, Sequence[Finding | Verdict]]:
        """Take a click or an error."""
        made: list[Finding | Verdict] = []
        if state is not None:
            state = self._pass(state, event.at_ms - 1, made)
        if event.kind == "click":
            return self._take(state, event, made), made
        state = state or ErrorState()
        body = event.body if isinstance(event.body, PageError) else PageError()
        if len(state.waiting) >= ERRORS_MAX:
            return state, made
        error = WaitingError(
            event.event_id, event.at_ms, body.message[:MESSAGE_CHARS_MAX], body.error_type
        )
        return ErrorState(state.click, (*state.waiting, error), state.folds), made

    def on_time(
        self, state: ErrorState, now_ms: int
    ) -> tuple[ErrorState | None, Sequence[Finding | Verdict]]:
        """Judge the errors that have come, forget what is too old."""
        made: list[Finding | Verdict] = []
        return self._pass(state, now_ms, made), made

    def wake_at_ms(self, state: ErrorState) -> int | None:
        """When the errors are judged, or nothing is worth knowing any more."""
        if state.waiting:
            return state.waiting[0].at_ms
        until_ms = [fold.until_ms for fold in state.folds]
        if state.click is not None:
            until_ms.append(state.click.until_ms)
        return max(until_ms)

    def decides(self, state: ErrorState) -> bool:
        """Whether an error waits: clicks and folds are only forgotten."""
        return bool(state.waiting)

    def needed(self, events: Sequence[SessionEvent], last_ms: int) -> Sequence[SessionEvent]:
        """All if there is an error, else clicks that a later one may be blamed on."""
        if any(event.kind != "click" for event in events):
            return events
        from_ms = last_ms - self._window_ms
        return [event for event in events if event.at_ms > from_ms]

    def provisional(self, state: ErrorState) -> Sequence[Finding]:
        """Nothing: an error click is a point."""
        return ()

    def _take(
        self, state: ErrorState | None, event: SessionEvent, made: list[Finding | Verdict]
    ) -> ErrorState | None:
        click, page = event.body, event.page
        params = self._params.of(page.path)
        why = ""
        if not isinstance(click, Click):
            why = "no_click"
        elif not click.is_left:
            why = "not_the_left_button"
        elif not params.enabled:
            why = "disabled"
        elif click.target.selector in self._ignored:
            why = "ignored_selector"
        if why:
            if self._explain:
                made.append(Verdict(self.insight_type, event.event_id, "not_judged", why))
            return state
        assert isinstance(click, Click)
        state = state or ErrorState()
        if state.click is not None:
            self._tell_spared(state.click, made)
        last = LastClick(
            event.event_id,
            event.at_ms,
            event.at_ms + params.error_window_ms,
            click.x,
            click.y,
            page.url,
            page.path,
            page.key,
            click.target.selector,
        )
        folds = tuple([fold for fold in state.folds if fold.until_ms >= event.at_ms])
        return ErrorState(last, state.waiting, folds)

    def _pass(
        self, state: ErrorState, now_ms: int, made: list[Finding | Verdict]
    ) -> ErrorState | None:
        """What is left when all events until `now_ms` have come."""
        click, waiting, folds = state.click, state.waiting, state.folds
        if waiting and waiting[0].at_ms <= now_ms:
            for error in waiting:
                click, folds = self._blame(click, error, folds, made)
            waiting = ()
        if click is not None and click.until_ms <= now_ms:
            self._tell_spared(click, made)
            # Folds are for clicks to come, or for this one.
            click = None
        if folds and click is None:
            folds = tuple([fold for fold in folds if fold.until_ms > now_ms])
        if click is None and not waiting and not folds:
            return None
        return ErrorState(click, waiting, folds)

    def _blame(
        self,
        click: LastClick | None,
        error: WaitingError,
        folds: tuple[ErrorFold, ...],
        made: list[Finding | Verdict],
    ) -> tuple[LastClick | None, tuple[ErrorFold, ...]]:
        """The click, blamed or not, and the folds."""
        if click is None or error.at_ms > click.until_ms or click.blamed:
            if self._explain:
                reason = "no_click_before" if click is None or not click.blamed else "click_blamed"
                made.append(
                    Verdict(
                        self.insight_type, error.event_id, "not_fired", reason,
                        evidence=() if click is None else (click.event_id,),
                    )
                )  # fmt: skip
            return click, folds
        params = self._params.of(click.path)
        after_ms = error.at_ms - click.at_ms
        key = (click.key, click.selector, error.error_type, error.message)
        same = next((f for f in folds if (f.key, f.selector, f.error_type, f.message) == key), None)
        fold = ErrorFold(*key, click.at_ms, click.at_ms + params.rearm_ms, click.event_id)
        rest = tuple([f for f in folds if f is not same])[-FOLDS_MAX + 1 :]
        blamed = msgspec.structs.replace(click, blamed=error.event_id)
        if same is not None and click.at_ms <= same.until_ms:
            if self._explain:
                made.append(
                    Verdict(
                        self.insight_type, click.event_id, "part", "repeated",
                        {"since_last_ms": click.at_ms - same.at_ms},
                        {"since_last_ms": params.rearm_ms}, (same.event_id, error.event_id),
                    )
                )  # fmt: skip
            return blamed, (*rest, fold)
        made.append(
            Finding(
                insight_type=self.insight_type,
                rule_version=self.rule_version,
                severity="high",
                anchor_event_id=click.event_id,
                at_ms=click.at_ms,
                ended_at_ms=error.at_ms,
                url=click.url,
                path=click.path,
                x=click.x,
                y=click.y,
                target_selector=click.selector,
                details={
                    "error_event_id": error.event_id,
                    "time_to_error_ms": after_ms,
                    "error_message": error.message,
                    "error_type": error.error_type,
                },
                related_event_ids=(click.event_id, error.event_id),
            )
        )
        if self._explain:
            made.append(
                Verdict(
                    self.insight_type, click.event_id, "fired", "error_follows",
                    {"time_to_error_ms": after_ms}, {"time_to_error_ms": params.error_window_ms},
                    (error.event_id,),
                )
            )  # fmt: skip
        return blamed, (*rest, fold)

    def _tell_spared(self, click: LastClick, made: list[Finding | Verdict]) -> None:
        if self._explain and not click.blamed:
            limit_ms = click.until_ms - click.at_ms
            made.append(
                Verdict(
                    self.insight_type, click.event_id, "not_fired", "no_error_follows",
                    {"time_to_error_ms": None}, {"time_to_error_ms": limit_ms},
                )
            )  # fmt: skip
