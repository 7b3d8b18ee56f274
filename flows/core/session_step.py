"""One step's work on one session: a state taken apart, what is due done, and put together again.

In: a state or none, new events, and how far the processing clock is. Out: rows and insights in
order, and the new state. What is done when, and why, is told by `flows.core.behaviour`.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from flows.core.detector_memory import NOTHING, DetectorMemory
from flows.core.detector_set import DetectorSet, Known
from flows.core.experience import InsightCounts
from flows.core.held_events import HeldBatch, split, with_events
from flows.core.insight import Finding, Insight, insight_of
from flows.core.live_detectors import LiveDetectors
from flows.core.session_event import SessionBatch, SessionEvent, sorted_events
from flows.core.session_row import SessionRow
from flows.core.session_run import END_MS
from flows.core.session_state import SessionState
from flows.core.session_totals import SessionTotals
from flows.core.sessionizer import add_batch, session_row

IDLE_MS = 1_800_000  # Source: sessions.md, section 1.
LATENESS_MS = 3_600_000  # Source: design.md, section 5, allowed lateness.
ROW_EVERY_MS = 10_000
LINGER_MS = 5_000  # What is due waits so long for the next batch, to be done together with it.
HELD_MAX = 5_000  # Events; beyond it, or beyond these bytes, the oldest are shown at once.
HELD_BYTES_MAX = 1024 * 1024
HELD_FEW = 100  # Events whose bytes nobody has to look at.
PREVIEWED_MAX = 16
TRIED_MAX = 200  # Events that are looked at for episodes before they are due: twenty a second.

BehaviourOutput = SessionRow | Insight

_BEGINNINGS = frozenset({"page_view", "session_start"})

_in_order = attrgetter("at_ms", "event_id")


def begins(batch: SessionBatch, events: Sequence[SessionEvent]) -> bool:
    """Whether a session is seen to begin with one of these events, so that there was none before.

    What happened longer ago than a session is remembered, or has no page, may be the rest of one
    that is forgotten.
    """
    since_ms = batch.received_at_ms - LATENESS_MS
    return any(event.kind in _BEGINNINGS and event.at_ms > since_ms for event in events)


class SessionStep:
    """See the module. `outputs` is added to."""

    __slots__ = (
        "_before",
        "_currency",
        "_deadline_ms",
        "_detectors",
        "_found",
        "_held",
        "_hold_ms",
        "_is_changed",
        "_is_closed",
        "_is_fragment",
        "_late_count",
        "_mark_ms",
        "_outputs",
        "_paced",
        "_previewed",
        "_received_at_ms",
        "_retain_days",
        "_revision",
        "_row_at_ms",
        "_set",
        "_totals",
        "_wake_at_ms",
        "is_forgotten",
        "repeated_count",
        "seen",
    )

    def __init__(
        self,
        state: SessionState | None,
        detectors: DetectorSet,
        hold_ms: int,
        outputs: list[BehaviourOutput],
        currency: str = "",
    ) -> None:
        self._hold_ms = hold_ms
        self._currency = currency
        self._set = detectors
        self._outputs = outputs
        self._before = state
        self._detectors: LiveDetectors | None = None  # Made when there is something for them.
        self.is_forgotten = False
        if state is None:
            self._totals: SessionTotals | None = None
            self._found = InsightCounts()
            self._held: list[HeldBatch] = []
            self._mark_ms = 0
            self._paced = (0, 0)
            self._deadline_ms = END_MS
            self._received_at_ms = self._revision = self._row_at_ms = self._wake_at_ms = 0
            self._retain_days = self._late_count = self.repeated_count = 0
            self._is_changed = self._is_closed = False
            self._is_fragment = True  # Until it is seen to begin.
            self._previewed: tuple[str, ...] = ()
            self.seen = b""
        else:
            self._totals = state.totals
            self._found = state.found
            self._held = list(state.held)
            self._mark_ms = state.mark_ms
            self._paced = (state.paced_at_ms, state.paced_received_at_ms)
            self._deadline_ms = self._set.next_ms(state.memory.deadlines)
            self._received_at_ms = state.received_at_ms
            self._revision = state.revision
            self._row_at_ms = state.row_at_ms
            self._wake_at_ms = state.wake_at_ms
            self._retain_days = state.retain_days
            self._late_count = state.late_count
            self.repeated_count = state.repeated_count
            self._is_changed = state.is_changed
            self._is_closed = state.is_closed
            self._is_fragment = state.is_fragment
            self._previewed = state.previewed
            self.seen = state.seen

    def add(self, batch: SessionBatch, events: Sequence[SessionEvent], now_ms: int) -> None:
        """Take events that are new; `now_ms` is the clock at which they come."""
        events = sorted_events(events)
        self._totals = add_batch(self._totals, batch, events)
        if self._is_fragment:
            self._is_fragment = not begins(batch, events)
        self._is_changed = True
        self._is_closed = False
        # What was received long before the clock (by a gateway whose own clock is behind) must not
        # be over and forgotten at once: its next batch would begin the session anew.
        received_ms = max(batch.received_at_ms, now_ms - IDLE_MS)
        self._received_at_ms = max(self._received_at_ms, received_ms)
        self._retain_days = max(self._retain_days, batch.retain_days)
        kinds = self._set.kinds
        taken = [event for event in events if event.kind in kinds]
        if not taken:
            return
        mark_ms = self._mark_ms
        if taken[0].at_ms <= mark_ms:
            kept = [event for event in taken if event.at_ms > mark_ms]
            self._late_count += len(taken) - len(kept)
            taken = kept
            if not taken:
                return
        self._held = with_events(self._held, taken)

    def run(self, now_ms: int) -> None:
        """Do what timers do up to `now_ms`, each at its own time."""
        while self._wake_at_ms <= now_ms and not self.is_forgotten:
            self._wake(self._wake_at_ms)

    def _wake(self, now_ms: int) -> None:
        if now_ms <= self._ended_ms():
            if self._due_ms() + LINGER_MS <= now_ms:
                self._go_on(now_ms)
        elif self._is_closed:
            self.is_forgotten = True
            return
        else:
            self._close(now_ms)
        self._settle(now_ms)

    def do_due(self, now_ms: int) -> None:
        """Do all that is due at or before `now_ms`, when a batch was added."""
        self._go_on(now_ms)
        self._show_too_many()
        self._settle(now_ms)

    def _show_too_many(self) -> None:
        """Keep what is held within bounds, whatever is sent: a record must hold the state."""
        count = sum([held.size for held in self._held])
        if count <= HELD_FEW:
            return
        if count > HELD_MAX:
            self._advance(self._held_times()[count - HELD_MAX - 1], 0)
        while sum([held.byte_count for held in self._held]) > HELD_BYTES_MAX:
            times = self._held_times()
            self._advance(times[len(times) // 2], 0)

    def _held_times(self) -> list[int]:
        return sorted([event.at_ms for held in self._held for event in held.events])

    def _settle(self, now_ms: int) -> None:
        """Write a row if one may be written, and tell when to wake."""
        due_ms = self._due_ms()
        if self._is_changed:
            row_ms = self._row_at_ms + ROW_EVERY_MS if self._row_at_ms else now_ms
            if row_ms <= now_ms:
                self._write_row(now_ms)
            else:
                due_ms = min(due_ms, row_ms)
        self._wake_at_ms = min(self._ended_ms() + 1, due_ms + LINGER_MS)

    def _ended_ms(self) -> int:
        """The last moment at which the session is open, or closed and remembered."""
        return self._received_at_ms + (LATENESS_MS if self._is_closed else IDLE_MS)

    def _due_ms(self) -> int:
        """When the next event is to be shown, or the next deadline decided."""
        due_ms, deadline_ms = END_MS, self._deadline_ms
        wait_ms = self._hold_ms + 1
        for batch in self._held:
            due_ms = min(due_ms, batch.received_at_ms + wait_ms)
            if batch.first_ms <= deadline_ms:
                deadline_ms = END_MS  # Events up to it are known, and shown first.
        if deadline_ms != END_MS:
            at_ms, received_at_ms = self._paced
            due_ms = min(due_ms, received_at_ms + wait_ms + max(0, deadline_ms - at_ms))
        return due_ms

    def _go_on(self, now_ms: int) -> None:
        """Show what has waited for its hold, decide what is due by the clock."""
        received_ms = now_ms - self._hold_ms - 1
        last_ms = 0
        for batch in self._held:
            if batch.received_at_ms <= received_ms and batch.last_ms > last_ms:
                last_ms = batch.last_ms
        self._advance(last_ms, received_ms)

    def _advance(self, last_ms: int, received_ms: int) -> None:
        """Show the held events up to `last_ms`, if any, and decide what is due then.

        From the last event on, time passes as it does for what is received at `received_ms`; not up
        to the next held event.
        """
        shown: Sequence[SessionEvent] = ()
        if last_ms:
            shown, self._held = split(self._held, last_ms)
            self._mark_ms = last_ms
            self._paced = (last_ms, shown[-1].received_at_ms)
        at_ms, received_at_ms = self._paced
        until_ms = at_ms + received_ms - received_at_ms
        for batch in self._held:
            until_ms = min(until_ms, batch.first_ms - 1)
        if not shown and self._deadline_ms > until_ms:
            return
        detectors = self._detectors_now()
        found = detectors.show(shown, until_ms)
        if found:
            self._tell(found)
        self._deadline_ms = detectors.next_ms
        # What happened up to there can no longer be shown: time never goes back for a detector.
        self._mark_ms = max(self._mark_ms, detectors.passed_ms)

    def _close(self, now_ms: int) -> None:
        if self._held:
            self._advance(max([held.last_ms for held in self._held]), 0)
        detectors = self._detectors_now()
        self._tell(detectors.pass_until(END_MS))
        detectors.clear()
        self._deadline_ms = END_MS
        self._is_closed = True
        self._write_row(now_ms)

    def _detectors_now(self) -> LiveDetectors:
        made = self._detectors
        if made is None:
            state = self._before
            made = LiveDetectors(self._set, NOTHING if state is None else state.memory)
            self._detectors = made
        return made

    def _memory_now(self) -> DetectorMemory:
        if self._detectors is not None:
            return self._detectors.memory
        return NOTHING if self._before is None else self._before.memory

    def _tell(self, found: Sequence[Finding]) -> None:
        """Write insights, and count them for the row."""
        totals = self._totals
        assert totals is not None
        for finding in found:
            insight = insight_of(finding, totals.project_id, totals.session_id)
            self._outputs.append(insight)
            self._found = self._found.adding(
                insight.insight_type,
                insight.insight_id,
                insight.timestamp_ms,
                finding.anchor_event_id,
            )
            self._is_changed = True

    def _write_row(self, now_ms: int) -> None:
        assert self._totals is not None
        if not self._is_fragment:
            self._revision += 1
        self._row_at_ms = now_ms
        self._is_changed = False
        self._outputs.append(
            session_row(
                self._totals,
                self._found,
                revision=self._revision,
                is_closed=self._is_closed,
                currency=self._currency,
                retain_days=self._retain_days,
            )
        )

    def preview(self, new: Sequence[SessionEvent]) -> None:
        """Announce episodes that open with what is held, on a copy of their detectors.

        All that is held is shown to it, over with or not. Of what no person does so fast nothing is
        announced: it would be looked at again and again.
        """
        announced = self._set.announced
        if announced is None or not any(self._may_open(known, new) for known in announced.all):
            return
        kinds = announced.kinds
        events = [event for held in self._held for event in held.events if event.kind in kinds]
        if len(events) > TRIED_MAX:
            return
        events.sort(key=_in_order)
        totals = self._totals
        assert totals is not None
        trial = LiveDetectors(announced, self._detectors_now().memory)
        for finding in (*trial.show(events), *trial.open_episodes()):
            insight = insight_of(finding, totals.project_id, totals.session_id, is_provisional=True)
            if insight.insight_id not in self._previewed:
                self._previewed = (*self._previewed, insight.insight_id)[-PREVIEWED_MAX:]
                self._outputs.append(insight)

    def _may_open(self, known: Known, new: Sequence[SessionEvent]) -> bool:
        """Whether an episode may begin with one of the new events, going by their times alone."""
        assert known.opening is not None
        kind, least, within_ms = known.opening
        if all(event.kind != kind for event in new):
            return False
        times = [e.at_ms for held in self._held for e in held.events if e.kind == kind]
        if not times:
            return False
        times.sort()
        # What was shown before may be the beginning.
        is_near = self._mark_ms + within_ms >= times[0]
        if is_near and known.name in self._memory_now().deadlines:
            return True
        lasts = times[least - 1 :]
        return any(last - first <= within_ms for first, last in zip(times, lasts, strict=False))

    def state(self) -> SessionState | None:
        """What is left after `run`."""
        if self.is_forgotten or self._totals is None:
            return None
        detectors, before = self._detectors, self._before
        failures = 0 if before is None else before.failure_count
        if detectors is not None:
            failures += detectors.failures
        paced = self._paced
        # In the order of the fields: names cost as much as the rest of it.
        return SessionState(
            self._totals,
            self.seen,
            self._received_at_ms,
            self._revision,
            self._row_at_ms,
            self._is_changed,
            self._is_closed,
            self._retain_days,
            self._wake_at_ms,
            self._found,
            tuple(self._held),
            self._mark_ms,
            paced[0],
            paced[1],
            self._memory_now(),
            self._late_count,
            self.repeated_count,
            failures,
            self._previewed,
            self._is_fragment,
        )
