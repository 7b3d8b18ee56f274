"""One session as it happens: totals at once, detectors in order, a row whenever something changed.

In: batches of one session in the order they came, and the processing clock. Out: `SessionRow`s,
revision by revision, and `Insight`s, each once. Source: sessions.md, section 1, and detectors.md,
section 1.2.

**What is due, and when.** T is the processing clock.

- At T > received + hold, an event and all held events before it are due to be shown to the
  detectors. Those of one millisecond are shown together: `received` is that of the last one.
- A deadline D of a detector, in the visitor's time, is decided when a later event is shown. Where
  no event up to D is held, it is due at T > received + hold + (D - at), where `received` and `at`
  are those of the last event shown.
- A row is due at the first event, then at most every 10 s while something changed.
- At T > last receipt + 30 min the session closes: all is shown and decided, detectors are
  forgotten. At T > last receipt + 60 min the session is forgotten; an event in between reopens it.
  For this, what is taken more than 30 min after its receipt was received 30 min before.

**What comes later still** begins the session anew, but its rows must not take the place of the one
that is there. Until such a state is seen to begin, by a page_view or session_start that happened
less than 60 min before its receipt, its rows have revision 0, which gives way to any other. Alone
it stands as any other does. `gosight sessions repair` makes one row of both.

**When it is done.** Closing and forgetting at once. All else lingers for the session's next batch
with an event that is new, for one look at a session costs less than two, but no longer than 5 s:

- A batch that comes at T first finds done what timers had to do up to T. Then its events are added,
  and what is due at T, of these as well, is done at once.
- A timer shows and decides, 5 s after the first of it was due, all that is due by then. A row whose
  5 s are over is written alone: when rows are written changes nothing else. A row that is due is
  written with whatever else is done.

What is done depends on the state, the batch and T alone: how often or how late `on_time` is called,
and where a process ends, changes nothing.

All of these are "after", not "at": timers due at T fire before the records received at T, and what
is received exactly `hold` after a later event, or 30 min after the last one, must still count. A
deadline waits for held events up to it, because those say how late events are at that time: an
event between them may take as long as they did, and `hold` more. What lingers gives late events
more time, never less.

**When this equals `session_run.run_session`** over the events since the session began or was
reopened: if an event of a kind that detectors take reaches the gateway

1. at most `hold` after any later one, and
2. at most `hold` later than it would have with the delay of the one before it: only this bounds how
   long a deadline must wait when nothing else comes.

Both hold if the delays of a session's events differ by at most `hold`. An event that comes too late
for that is counted as late, and stays part of the totals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from flows.core.detector_set import DetectorSet
from flows.core.detectors.detector import Detector
from flows.core.machine import Machine
from flows.core.seen_ids import new_events
from flows.core.session_event import SessionBatch
from flows.core.session_state import SessionState, decode_state, encode_state
from flows.core.session_step import (
    HELD_MAX,
    IDLE_MS,
    LATENESS_MS,
    BehaviourOutput,
    SessionStep,
)

__all__ = [
    "HELD_MAX",
    "IDLE_MS",
    "LATENESS_MS",
    "BehaviourMachine",
    "BehaviourOutput",
    "SessionState",
    "decode_state",
    "encode_state",
]

RULES_MAX = 10_000  # Whose detectors are kept ready.


class Rules(Protocol):
    """What is configured for one project; see `flows.core.detection_rules`."""

    @property
    def hold_ms(self) -> int:
        """How long an event waits for earlier ones."""

    @property
    def currency(self) -> str:
        """In which revenue is told; empty: that of a session's first purchase."""

    def detectors(self, explain: bool = False) -> tuple[Detector[Any], ...]:
        """The detectors that are switched on."""


class BehaviourMachine(Machine[SessionState, SessionBatch, BehaviourOutput]):
    """The machine per session; `rules_of` gives the rules of a project id, and may be quick."""

    def __init__(self, rules_of: Callable[[str], Rules], *, previews: bool = False) -> None:
        self._rules_of = rules_of
        self._previews = previews
        self._sets: dict[int, tuple[Rules, DetectorSet]] = {}

    def on_event(
        self, state: SessionState | None, event: SessionBatch, now_ms: int
    ) -> tuple[SessionState | None, Sequence[BehaviourOutput]]:
        """Take a batch; `now_ms` is not before its receipt."""
        outputs: list[BehaviourOutput] = []
        rules, detectors = self._set_of(event.project_id)
        session = SessionStep(state, detectors, rules.hold_ms, outputs, rules.currency)
        if state is not None and state.wake_at_ms <= now_ms:
            session.run(now_ms)
            if session.is_forgotten:
                session = SessionStep(None, detectors, rules.hold_ms, outputs, rules.currency)
        if not event.events:
            return session.state(), outputs
        session.seen, events = new_events(session.seen, event.events)
        session.repeated_count += len(event.events) - len(events)
        if events:
            session.add(event, events, now_ms)
            if self._previews:
                session.preview(events)
            session.do_due(now_ms)
        return session.state(), outputs

    def on_time(
        self, state: SessionState, now_ms: int
    ) -> tuple[SessionState | None, Sequence[BehaviourOutput]]:
        """Do what is due."""
        if state.wake_at_ms > now_ms:
            return state, ()
        outputs: list[BehaviourOutput] = []
        rules, detectors = self._set_of(state.totals.project_id)
        session = SessionStep(state, detectors, rules.hold_ms, outputs, rules.currency)
        session.run(now_ms)
        return session.state(), outputs

    def wake_at_ms(self, state: SessionState) -> int | None:
        """When something is due next."""
        return state.wake_at_ms

    def _set_of(self, project_id: str) -> tuple[Rules, DetectorSet]:
        rules = self._rules_of(project_id)
        # Most projects share the default rules. An object that is kept has its number for itself.
        known = self._sets.get(id(rules))
        if known is None:
            if len(self._sets) >= RULES_MAX:
                self._sets.clear()
            known = self._sets[id(rules)] = (rules, DetectorSet(rules.detectors()))
        return known
