"""What must be found in a session, given when its records came: the reference of the auditor.

In: a session's records in the order of the log. Out: the rows and insights that follow. Two
references:

- **In time.** If no event came later than the project's hold permits, what is found is what a look
  at the whole session finds (`flows.core.session_run`), whatever was killed. `is_in_time` decides
  that by times of receipt alone.
- **Late.** An outage delays what clients send again, and an event that comes after what it belongs
  to was judged is late by the rules (ADR 19). Then the machine of the session is run over its
  records in the order of the log. The one thing the log does not say is how far the clock of the
  quiet partition had gone when a record came that had been received long before it was appended
  (the gateway waited for Kafka): it may be anything from the largest time of receipt so far to a
  second before the broker appended the record. All outcomes that such a clock permits are allowed,
  no other. For records that were appended at once, which is nearly all, there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec

from connectors.lookups import load_agent_parser, load_place_reader
from flows.core.behaviour import BehaviourMachine, BehaviourOutput, SessionState, encode_state
from flows.core.detection_rules import SessionRules, rules_of_document
from flows.core.insight import Finding, Insight, insight_of
from flows.core.session_batches import BatchReader
from flows.core.session_event import SessionBatch, SessionEvent
from flows.core.session_row import SessionRow
from flows.core.session_run import in_order, run_session
from tests.faults.session_log import Arrival

# A quiet partition's clock is this far behind the wall clock; the rest is for a broker that stands
# still between the stamp and when readers can see the record: for long, if the machine is busy. It
# stays below a second, so that records that were appended at once leave no choice.
QUIET_BEHIND_MS = 1_000
STAMP_MS = 600
# What times of receipt may differ from the clock and still be told apart from late ones.
IN_TIME_MARGIN_MS = 300
# Timers that are due until then must have fired; closing comes half an hour after receipt.
HORIZON_MS = 120_000
OUTCOMES_MAX = 500


@dataclass(frozen=True)
class Outcome:
    """All that is to be said of a session, in order; previews are among the insights."""

    rows: tuple[SessionRow, ...] = ()
    insights: tuple[Insight, ...] = ()

    @property
    def final(self) -> dict[str, Insight]:
        """Insights that are not previews, by id."""
        return {one.insight_id: one for one in self.insights if not one.is_provisional}

    @property
    def blurred(self) -> tuple[SessionRow | None, tuple[Insight, ...]]:
        """Without what depends on the moments at which rows were written."""
        last = msgspec.structs.replace(self.rows[-1], revision=0) if self.rows else None
        return last, self.insights


@dataclass
class Expectation:
    """What may have come of a session.

    `is_exact`: the log says all, and rows are known one by one. `whole`: the insights of the whole
    session, if it came in time. `settled_at_ms`: when the last of it is due.
    """

    outcomes: list[Outcome]
    is_exact: bool
    settled_at_ms: int
    whole: dict[str, Insight] | None = None

    def fits(self, found: Outcome) -> bool:
        """Whether this is one of the outcomes."""
        if self.is_exact:
            return found == self.outcomes[0]
        return any(found.blurred == one.blurred for one in self.outcomes)


@dataclass
class Replayer:
    """Runs sessions of projects with these settings."""

    document: Mapping[str, Any]
    _rules: SessionRules = field(init=False)
    _machine: BehaviourMachine = field(init=False)

    def __post_init__(self) -> None:
        self._rules = rules_of_document(self.document)
        self._machine = BehaviourMachine(lambda _project_id: self._rules, previews=True)

    def expect(self, arrivals: Sequence[Arrival], end_ms: int) -> Expectation:
        """What may come of these records when the clock has reached `end_ms`."""
        batches = [_reader().read_record(one.value) for one in arrivals]
        highs = [
            max(one.clock_ms, one.appended_at_ms - QUIET_BEHIND_MS + STAMP_MS) for one in arrivals
        ]
        is_exact = all(high == one.clock_ms for high, one in zip(highs, arrivals, strict=True))
        found, settled_at_ms = self._run(arrivals, batches, highs, end_ms + HORIZON_MS)
        expectation = Expectation(found, is_exact, settled_at_ms)
        if self.is_in_time(arrivals, batches, highs):
            events = [event for batch in batches for event in batch.events]
            expectation.whole = self._whole(batches[0], events)
        return expectation

    def is_in_time(
        self, arrivals: Sequence[Arrival], batches: Sequence[SessionBatch], highs: Sequence[int]
    ) -> bool:
        """Whether no event came later than the hold permits, seen from any allowed clock."""
        if any(
            high - one.received_at_ms > IN_TIME_MARGIN_MS
            for high, one in zip(highs, arrivals, strict=True)
        ):
            return False
        hold_ms = self._rules.hold_ms - IN_TIME_MARGIN_MS
        kinds = {kind for one in self._rules.detectors() for kind in one.kinds}
        events = [
            event
            for event in in_order(event for batch in batches for event in batch.events)
            if event.kind in kinds
        ]
        earliest_after_ms = 1 << 62
        for event in reversed(events):
            if event.received_at_ms > earliest_after_ms + hold_ms:
                return False
            earliest_after_ms = min(earliest_after_ms, event.received_at_ms)
        delays = [event.received_at_ms - event.at_ms for event in events]
        return all(later <= before + hold_ms for before, later in pairwise(delays))

    def _whole(self, batch: SessionBatch, events: Sequence[SessionEvent]) -> dict[str, Insight]:
        made = run_session(self._rules.detectors(), events)
        found = [
            insight_of(one, batch.project_id, batch.session_id)
            for one in made
            if isinstance(one, Finding)
        ]
        return {one.insight_id: one for one in found}

    def _run(
        self,
        arrivals: Sequence[Arrival],
        batches: Sequence[SessionBatch],
        highs: Sequence[int],
        end_ms: int,
    ) -> tuple[list[Outcome], int]:
        """Every outcome that an allowed clock gives, and when the last of it is due."""
        ways: list[_Way] = [_Way(None, Outcome())]
        for arrival, batch, high_ms in zip(arrivals, batches, highs, strict=True):
            taken: dict[Any, _Way] = {}
            for way in ways:
                for after in self._taken(way, batch, arrival.clock_ms, high_ms):
                    taken.setdefault(after.key, after)
            ways = list(taken.values())
            assert len(ways) <= OUTCOMES_MAX, f"{len(ways)} outcomes of {arrival.session_id}"
        settled_at_ms = 0
        outcomes = []
        for way in ways:
            while way.state is not None:
                due_ms = self._machine.wake_at_ms(way.state)
                if due_ms is None or due_ms > end_ms:
                    break
                state, made = self._machine.on_time(way.state, due_ms)
                way = way.with_(state, made)
                if made:
                    settled_at_ms = max(settled_at_ms, due_ms)
            outcomes.append(way.outcome)
        return outcomes, settled_at_ms

    def _taken(self, way: _Way, batch: SessionBatch, low_ms: int, high_ms: int) -> list[_Way]:
        """What may come of a batch that is taken at some clock between these two.

        The further the clock, the more is done by then: where both ends agree, all between do.
        """
        ends = [
            way.with_(*self._machine.on_event(way.state, batch, now_ms))
            for now_ms in (low_ms, high_ms)
        ]
        if high_ms - low_ms <= 1 or ends[0].key == ends[1].key:
            return ends
        middle_ms = (low_ms + high_ms) // 2
        return [
            *self._taken(way, batch, low_ms, middle_ms),
            *self._taken(way, batch, middle_ms, high_ms),
        ]


@dataclass(frozen=True)
class _Way:
    state: SessionState | None
    outcome: Outcome

    @property
    def key(self) -> Any:
        """Equal for ways that differ only in when rows were written."""
        state = self.state
        if state is None:
            return b"", self.outcome.insights
        alike = msgspec.structs.replace(
            state, revision=0, row_at_ms=0, wake_at_ms=0, is_changed=False
        )
        return encode_state(alike), self.outcome.insights

    def with_(self, state: SessionState | None, made: Sequence[BehaviourOutput]) -> _Way:
        rows = [one for one in made if isinstance(one, SessionRow)]
        insights = [one for one in made if isinstance(one, Insight)]
        outcome = self.outcome
        if made:
            outcome = Outcome((*outcome.rows, *rows), (*outcome.insights, *insights))
        return _Way(state, outcome)


@cache
def _reader() -> BatchReader:
    return BatchReader(load_agent_parser(), load_place_reader(None))
