"""A session's insights as a function of its events: the reference, and what history runs on.

In: all events of one session, in any order, repetitions included. Out: what the detectors say, in
the order of deciding. This is the definition of detectors.md, section 1.1; `flows.core.behaviour`
gives the same while the events are still coming.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flows.core.detectors.detector import Detector
from flows.core.insight import Finding, Verdict
from flows.core.session_event import SessionEvent

END_MS = 2**62  # After everything: all that is open closes.


class DetectorRun:
    """Some detectors over one session's events, which must come in order."""

    def __init__(
        self, detectors: Sequence[Detector[Any]], states: Mapping[str, Any] | None = None
    ) -> None:
        self._detectors = {detector.insight_type: detector for detector in detectors}
        self._takers: dict[str, list[Detector[Any]]] = {}
        for detector in detectors:
            for kind in detector.kinds:
                self._takers.setdefault(kind, []).append(detector)
        self.states: dict[str, Any] = dict(states or {})

    def wake_at_ms(self) -> int | None:
        """The earliest deadline of all."""
        deadlines = [
            at_ms
            for name, state in self.states.items()
            if (at_ms := self._detectors[name].wake_at_ms(state)) is not None
        ]
        return min(deadlines, default=None)

    def take(self, event: SessionEvent) -> list[Finding | Verdict]:
        """Decide what was due before this event, then take it."""
        made = self.pass_until(event.at_ms - 1)
        for detector in self._takers.get(event.kind, ()):
            name = detector.insight_type
            state, found = detector.on_event(self.states.get(name), event, event.at_ms)
            self._keep(name, state)
            made.extend(found)
        return made

    def pass_until(self, now_ms: int) -> list[Finding | Verdict]:
        """Decide all that is due at or before `now_ms`, earliest first."""
        made: list[Finding | Verdict] = []
        while True:
            due = [
                (at_ms, name)
                for name, state in self.states.items()
                if (at_ms := self._detectors[name].wake_at_ms(state)) is not None
                and at_ms <= now_ms
            ]
            if not due:
                return made
            at_ms, name = min(due)
            state, found = self._detectors[name].on_time(self.states[name], at_ms)
            self._keep(name, state)
            made.extend(found)

    def _keep(self, name: str, state: Any) -> None:
        if state is None:
            self.states.pop(name, None)
        else:
            self.states[name] = state


def in_order(events: Iterable[SessionEvent]) -> list[SessionEvent]:
    """Each event once, in the order they happened; of repetitions the first received counts."""
    first: dict[str, SessionEvent] = {}
    for event in events:
        known = first.get(event.event_id)
        if known is None or event.received_at_ms < known.received_at_ms:
            first[event.event_id] = event
    return sorted(first.values(), key=lambda event: event.order)


def run_session(
    detectors: Sequence[Detector[Any]], events: Iterable[SessionEvent]
) -> list[Finding | Verdict]:
    """All that the detectors say about a session that is over."""
    run = DetectorRun(detectors)
    made: list[Finding | Verdict] = []
    for event in in_order(events):
        made.extend(run.take(event))
    made.extend(run.pass_until(END_MS))
    return made
