"""The machine of sessions with its figures: what the states say is counted as it happens.

A step that is repeated after a death is counted again by the process that repeats it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from prometheus_client import Counter, Gauge

from flows.core.behaviour import BehaviourMachine, BehaviourOutput, SessionState
from flows.core.insight import Insight
from flows.core.session_event import SessionBatch
from flows.streams import FLOW_EVENTS

LATE = Counter(
    "gosight_sessions_late_events_total",
    "Events that came too late for the detectors; they count in the session all the same.",
)
REOPENED = Counter(
    "gosight_sessions_reopened_total", "Sessions with an event after they were closed."
)
FAILURES = Counter(
    "gosight_sessions_detector_failures_total",
    "Sessions for which a detector was dropped because it failed.",
)
REVISIONS = Counter(
    "gosight_sessions_revisions_total",
    "Rows of sessions by state: each revision of an open one, each time that one is closed, and "
    "each time that this is a fragment, which was not seen to begin.",
    ["state"],
)
HELD = Gauge(
    "gosight_sessions_held_events", "Events that wait for earlier ones before detectors see them."
)
INSIGHTS = Counter(
    "gosight_sessions_insights_total",
    "Insights by type and state: provisional while an episode is open, final once.",
    ["type", "state"],
)

FORGET_S = 60.0  # No batch is held back longer than that. Source: detectors.md, section 1.4.

_TAKEN = FLOW_EVENTS.labels("behaviour", "taken", "")
_REPEATED = FLOW_EVENTS.labels("behaviour", "duplicate", "")
_OPEN, _CLOSED = REVISIONS.labels("open"), REVISIONS.labels("closed")
_FRAGMENT = REVISIONS.labels("fragment")


class HeldEvents:
    """How many events are held back, by session.

    Sessions whose partition has left are not heard of again: what was not touched for a while is
    forgotten, at the latest after twice `FORGET_S`.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._fresh: dict[str, int] = {}
        self._old: dict[str, int] = {}
        self._turn_at = monotonic() + FORGET_S

    def put(self, key: str, count: int) -> None:
        """The session holds back so many now."""
        self._turn()
        if count:
            self._fresh[key] = count
        else:
            self._fresh.pop(key, None)
        if self._old:
            self._old.pop(key, None)

    def total(self) -> int:
        """Of all sessions; may be asked for by any thread."""
        self._turn()
        return sum(list(self._fresh.values())) + sum(list(self._old.values()))

    def _turn(self) -> None:
        if self._monotonic() >= self._turn_at:
            self._turn_at = self._monotonic() + FORGET_S
            self._fresh, self._old = {}, self._fresh


class CountedSessions:
    """A `Machine`: another one, and counters."""

    def __init__(self, machine: BehaviourMachine) -> None:
        self._machine = machine
        self._held = HeldEvents()
        HELD.set_function(self._held.total)

    def on_event(
        self, state: SessionState | None, event: SessionBatch, now_ms: int
    ) -> tuple[SessionState | None, Sequence[BehaviourOutput]]:
        """See `Machine.on_event`."""
        after, outputs = self._machine.on_event(state, event, now_ms)
        repeated = _count(state, after)
        if repeated:
            _REPEATED.inc(repeated)
        _TAKEN.inc(len(event.events) - repeated)
        self._count_rest(state, after, outputs)
        return after, outputs

    def on_time(
        self, state: SessionState, now_ms: int
    ) -> tuple[SessionState | None, Sequence[BehaviourOutput]]:
        """See `Machine.on_time`."""
        after, outputs = self._machine.on_time(state, now_ms)
        _count(state, after)
        self._count_rest(state, after, outputs)
        return after, outputs

    def wake_at_ms(self, state: SessionState) -> int | None:
        """See `Machine.wake_at_ms`."""
        return state.wake_at_ms

    def _count_rest(
        self,
        before: SessionState | None,
        after: SessionState | None,
        outputs: Sequence[BehaviourOutput],
    ) -> None:
        if outputs:
            _count_outputs(outputs)
        if after is not None and after.held:
            self._held.put(after.totals.session_id, sum([batch.size for batch in after.held]))
        elif before is not None and before.held:
            self._held.put(before.totals.session_id, 0)


def _count(before: SessionState | None, after: SessionState | None) -> int:
    """Count what a step added; return how many events were repetitions."""
    if after is None:
        return 0
    if before is None:
        if after.late_count:
            LATE.inc(after.late_count)
        if after.failure_count:
            FAILURES.inc(after.failure_count)
        return after.repeated_count
    if after.late_count > before.late_count:
        LATE.inc(after.late_count - before.late_count)
    if after.failure_count > before.failure_count:
        FAILURES.inc(after.failure_count - before.failure_count)
    if before.is_closed and not after.is_closed:
        REOPENED.inc()
    return max(0, after.repeated_count - before.repeated_count)


def _count_outputs(outputs: Sequence[BehaviourOutput]) -> None:
    for output in outputs:
        if isinstance(output, Insight):
            state = "provisional" if output.is_provisional else "final"
            INSIGHTS.labels(output.insight_type, state).inc()
        elif output.is_closed:
            _CLOSED.inc()
            if not output.revision:
                _FRAGMENT.inc()
        else:
            _OPEN.inc()
