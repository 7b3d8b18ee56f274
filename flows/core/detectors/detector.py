"""What every detector is: a Machine over one session's events in the order they happened.

The caller (`flows.core.session_run`, `flows.core.behaviour`) gives each event once, sorted by
`SessionEvent.order`, and only of the kinds asked for. Time is the visitor's: a deadline `D` is
reported by `on_time` when time has passed it, always after the events that happened at `D` itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from flows.core.insight import Finding, Verdict
from flows.core.session_event import SessionEvent

State = TypeVar("State")


class Opening(NamedTuple):
    """An episode begins with so many events of this kind within so many milliseconds, or more."""

    kind: str
    least: int
    within_ms: int


class Detector(Protocol[State]):
    """See `flows.core.machine.Machine` for the contract of states.

    `state_type` is what msgspec needs to restore a state (a frozen Struct, array_like).
    `kinds` are the stored types of events it takes. State is bounded, and None once nothing that
    happened can matter any more.

    A detector may also have `decides(state) -> bool`: whether the next deadline may make a finding.
    If not, what is forgotten then may be forgotten later. Without it, it may. It may have
    `needed(events, last_ms)`: of its events up to the end of a millisecond, in order, those that
    matter where nothing was remembered before; the others may be left out. And it may have an
    `opening`: then its episodes are announced while they go on, and it tells when one can begin.
    """

    insight_type: str
    rule_version: int
    kinds: frozenset[str]
    state_type: Any

    def on_event(
        self, state: State | None, event: SessionEvent, now_ms: int
    ) -> tuple[State | None, Sequence[Finding | Verdict]]:
        """Take one event; `now_ms` is its `at_ms`."""

    def on_time(
        self, state: State, now_ms: int
    ) -> tuple[State | None, Sequence[Finding | Verdict]]:
        """Decide what was due at or before `now_ms`."""

    def wake_at_ms(self, state: State) -> int | None:
        """The next deadline, in the visitor's time."""

    def provisional(self, state: State) -> Sequence[Finding]:
        """Episodes that are open: what would be found if nothing more happened."""
