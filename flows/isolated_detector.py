"""A detector of a user's own, kept from doing harm to the flow that runs it.

In: an object of a class of theirs (`flows.user_detectors`). Out: a `Detector` like the built-in
ones, with these guarantees:

- What it raises, of whatever kind, is counted and told, and the detector is dropped for that
  session; the other detectors and the session go on.
- It cannot reach into the flow's state: between calls its own is msgpack bytes, of bounded size.
- What it finds is checked and bounded before anyone else sees it.
- A session comes to an end, however often the detector asks to be woken.

It runs in the flow's own process: a call that never returns stops the flow, and memory that it
takes is the flow's. Calls that are slow are counted, to be found before that, and the one that runs
is noted, to be told of when it hangs (`flows.hanging_calls`).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any

import msgspec
from prometheus_client import Counter

from connectors.log_limit import LineLimiter
from connectors.log_text import exception_name, exception_text
from connectors.telemetry import get_logger
from flows.core.found import BadOutputError, Found, checked_finding, fired
from flows.core.insight import Finding, Verdict
from flows.core.session_event import SessionEvent
from flows.hanging_calls import RUNNING

# A built-in detector takes some microseconds for an event.
SLOW_CALL_S = 0.01
STATE_BYTES_MAX = 16_384
# Findings of one call: what the largest step of a built-in detector gives is two.
FOUND_MAX = 20
# Calls of on_time with no event in between: a day of one a minute.
WAKES_MAX = 1_440
DETAIL_LENGTH_MAX = 300

FAILURES = Counter(
    "gosight_detector_failures_total",
    "Calls of a detector of a user's own that failed; it is dropped for that session.",
    ["detector"],
)
SLOW_CALLS = Counter(
    "gosight_detector_slow_calls_total",
    f"Calls of a detector of a user's own that took more than {SLOW_CALL_S * 1000:.0f} ms.",
    ["detector"],
)

Report = Callable[[str, BaseException], None]
_said = LineLimiter()


class DetectorStateError(ValueError):
    """What a detector remembers cannot be kept; the text says why."""


# Their texts are written in this program: bounds, and names of fields and types.
_FOUND_HERE = (BadOutputError, DetectorStateError)


class IsolatedState(msgspec.Struct, frozen=True, array_like=True):
    """What a session keeps of one detector; `data` is None once it was dropped."""

    data: bytes | None = None
    wake_at_ms: int | None = None
    wakes: int = 0  # Since the last event.


DROPPED = IsolatedState()


def count_and_log(detector: str, error: BaseException) -> None:
    """Count a failure, and write one line of it a minute and detector.

    What is wrong is in it if it was found here; what a detector says itself may be a visitor's.
    """
    FAILURES.labels(detector).inc()
    left_out = _said.admit(detector)
    if left_out is not None:
        said = {"detail": str(error)[:DETAIL_LENGTH_MAX]} if type(error) in _FOUND_HERE else {}
        get_logger().warning(
            "detector_failed",
            about=detector,
            failures_left_out=left_out,
            exception=exception_name(error, is_ours=False),
            stack=exception_text(error, is_ours=False),
            **said,
        )


def may_be_of_the_keyboard(error: BaseException) -> bool:
    """Whether it may be the Ctrl-C of who runs a command.

    Flows handle SIGINT themselves (`flows.run`), without an exception: there, the code that runs
    has raised it.
    """
    is_interrupt = isinstance(error, KeyboardInterrupt)
    return is_interrupt and signal.getsignal(signal.SIGINT) is signal.default_int_handler


class IsolatedDetector:
    """One detector of a user's own; see `flows.core.detectors.detector.Detector`.

    `inner` has `on_event`, `on_time`, `wake_at_ms`, and maybe `provisional`. With `strict` each
    state is read back at once and must be equal: slower, for tests.
    """

    state_type = IsolatedState

    def __init__(
        self,
        inner: Any,
        *,
        explain: bool = False,
        strict: bool = False,
        report: Report = count_and_log,
        clock_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.insight_type: str = inner.insight_type
        self.rule_version: int = inner.rule_version
        self.kinds: frozenset[str] = frozenset(inner.kinds)
        self._severity: str = inner.severity
        self._inner = inner
        self._explain = explain
        self._strict = strict
        self._report = report
        self._clock_s = clock_s
        self._slow_calls = SLOW_CALLS.labels(self.insight_type)
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(inner.state_type).decode

    def on_event(
        self, state: IsolatedState | None, event: SessionEvent, now_ms: int
    ) -> tuple[IsolatedState | None, Sequence[Finding | Verdict]]:
        """Take one event, or do nothing if the detector was dropped for this session."""
        if state is None:
            return self._step(lambda: self._inner.on_event(None, event, now_ms), None, 0)
        data = state.data
        if data is None:
            return state, ()
        return self._step(lambda: self._inner.on_event(self._decode(data), event, now_ms), None, 0)

    def on_time(
        self, state: IsolatedState, now_ms: int
    ) -> tuple[IsolatedState | None, Sequence[Finding | Verdict]]:
        """Decide what was due."""
        data = state.data
        if data is None:
            return state, ()
        return self._step(
            lambda: self._inner.on_time(self._decode(data), now_ms), now_ms, state.wakes + 1
        )

    def wake_at_ms(self, state: IsolatedState) -> int | None:
        """As the detector said when it made this state."""
        return state.wake_at_ms

    def provisional(self, state: IsolatedState) -> Sequence[Finding]:
        """What is open; nothing if the detector cannot tell."""
        tell = getattr(self._inner, "provisional", None)
        if tell is None or state.data is None:
            return ()
        RUNNING.now = (self.insight_type, self._clock_s(), get_ident())
        try:
            return [self._checked(found) for found in tell(self._decode(state.data))][:FOUND_MAX]
        except BaseException as error:
            self._failed(error)
            return ()
        finally:
            RUNNING.now = None

    def _step(
        self, call: Callable[[], Any], woken_at_ms: int | None, wakes: int
    ) -> tuple[IsolatedState | None, Sequence[Finding | Verdict]]:
        began_s = self._clock_s()
        RUNNING.now = (self.insight_type, began_s, get_ident())
        try:
            step = call()
            if not isinstance(step, tuple) or len(step) != 2:
                raise BadOutputError("a step gives the new state and the outputs, as one tuple")
            kept = self._kept(step[0], woken_at_ms, wakes)
            return kept, self._outputs(step[1])
        except BaseException as error:
            self._failed(error)
            return DROPPED, ()
        finally:
            RUNNING.now = None
            if self._clock_s() - began_s > SLOW_CALL_S:
                self._slow_calls.inc()

    def _failed(self, error: BaseException) -> None:
        if may_be_of_the_keyboard(error):
            raise error
        self._report(self.insight_type, error)

    def _kept(self, state: Any, woken_at_ms: int | None, wakes: int) -> IsolatedState | None:
        if state is None:
            return None
        try:
            data = self._encode(state)
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
            raise DetectorStateError(f"the state cannot be stored: {error}") from None
        if len(data) > STATE_BYTES_MAX:
            raise DetectorStateError(f"the state is {len(data)} bytes; at most {STATE_BYTES_MAX}")
        if self._strict and self._decode(data) != state:
            raise DetectorStateError("the state is another one after it was stored and read back")
        wake_at_ms = self._inner.wake_at_ms(state)
        if wake_at_ms is not None:
            if type(wake_at_ms) is not int:
                raise DetectorStateError("wake_at_ms gives milliseconds as an int, or None")
            if woken_at_ms is not None and wake_at_ms <= woken_at_ms:
                raise DetectorStateError("after on_time, wake_at_ms is a later time or None")
            if wakes > WAKES_MAX:
                raise DetectorStateError(f"woken {WAKES_MAX} times without an event")
        return IsolatedState(data, wake_at_ms, wakes)

    def _outputs(self, outputs: Any) -> Sequence[Finding | Verdict]:
        if not outputs:
            return ()
        if len(outputs) > FOUND_MAX:
            raise BadOutputError(f"{len(outputs)} outputs of one call; at most {FOUND_MAX}")
        made: list[Finding | Verdict] = []
        for output in outputs:
            if not isinstance(output, Found):
                raise BadOutputError(f"outputs are Found, not {type(output).__name__}")
            finding = self._checked(output)
            made.append(finding)
            if self._explain:
                made.append(fired(finding))
        return made

    def _checked(self, found: Any) -> Finding:
        return checked_finding(found, self.insight_type, self.rule_version, self._severity)
