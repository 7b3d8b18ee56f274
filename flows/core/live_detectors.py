"""Detectors over a session that goes on: what `session_run.DetectorRun` does, with less work.

In: a session's events in the order they happened, and the visitor's time. Out: findings. Each
detector is taken through a stretch of events by itself, which gives the same findings, those of one
detector after those of another; one that remembers nothing is taken only through what it needs.
Exclusions around detectors look at one memory of the session instead of one each, and only when
there is something to judge. States that were stored are opened when they are needed, and deadlines
are stored with them. A detector that raises, or whose deadline does not move on, is dropped for the
session: the others, and the session's totals, are worth more than its findings.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Any

import msgspec

from flows.core.detector_memory import NOTHING, DetectorMemory, Opened, Waiting
from flows.core.detector_set import DetectorSet, Known
from flows.core.detectors.evidence import Evidence, evidence_of
from flows.core.detectors.excluding import EVIDENCE_MAX, HELD_MAX
from flows.core.insight import Finding, Verdict
from flows.core.session_event import PageError, SessionEvent
from flows.core.session_run import END_MS

FAILED_MAX = 32  # Names of dropped detectors kept with a session.
LAST_ID = "~"  # After every event id.
FORGOTTEN_AFTER_MS = 60_000  # Of a deadline at which nothing is decided, by the clock.

Order = tuple[int, str]

_order = attrgetter("at_ms", "event_id")


class StandsStillError(Exception):
    """A detector asks for the same time again and again."""


class LiveDetectors:
    """One session's detectors at work: on what is remembered of it, which stays as it is."""

    __slots__ = (
        "_before",
        "_deadlines",
        "_evidence",
        "_failed",
        "_is_changed",
        "_recent",
        "_seen",
        "_set",
        "_states",
        "_waiting",
        "failures",
        "passed_ms",
    )

    def __init__(self, detectors: DetectorSet, memory: DetectorMemory = NOTHING) -> None:
        self._set = detectors
        self._before = memory
        self.failures = 0
        self.passed_ms = 0  # The latest deadline that was decided here.
        try:
            opened = memory.opened
        except msgspec.MsgspecError:
            # Of another version: all begin anew.
            self.failures += 1
            opened = Opened()
        self._states: dict[str, Any] = dict(opened.states)
        self._deadlines = dict(memory.deadlines)
        self._failed = set(opened.failed)
        self._evidence: Sequence[Evidence] = opened.evidence
        self._waiting = dict(opened.waiting)
        self._is_changed = False
        self._recent: Sequence[SessionEvent] = ()  # Those being shown.
        self._seen: list[Evidence] | None = None  # The evidence with that of those, once asked for.

    @property
    def memory(self) -> DetectorMemory:
        """What is remembered now."""
        if not self._is_changed:
            return self._before
        opened = Opened(
            dict(self._states),
            tuple(self._evidence),
            dict(self._waiting),
            tuple(sorted(self._failed)),
        )
        return DetectorMemory(opened, dict(self._deadlines))

    @property
    def next_ms(self) -> int:
        """When the time must be told; `END_MS` is never."""
        return self._set.next_ms(self._deadlines)

    def clear(self) -> None:
        """Forget all that happened."""
        self._is_changed = True
        self._states.clear()
        self._deadlines.clear()
        self._waiting.clear()
        self._evidence = ()

    def show(self, events: Sequence[SessionEvent], until_ms: int = 0) -> list[Finding]:
        """Take events, in order, and decide what was due before each of them.

        All of a millisecond are shown together. What is due by the last of them or by `until_ms` is
        decided, too.
        """
        made: list[Finding] = []
        ready, failed, deadlines = self._set, self._failed, self._deadlines
        self._recent, self._seen = events, None
        mine: list[list[SessionEvent]] = [[] for _ in ready.all]
        takers = ready.takers
        for event in events:
            for place in takers.get(event.kind, ()):
                mine[place].append(event)
        last_ms = events[-1].at_ms if events else 0
        until_ms = min(max(until_ms, last_ms), END_MS - 1)
        for known, taken in zip(ready.all, mine, strict=True):
            name = known.name
            if (taken or deadlines.get(name, END_MS) <= until_ms) and name not in failed:
                try:
                    self._take(known, taken, last_ms, until_ms, made)
                except Exception:  # A detector's fault must not cost the session.
                    self._drop(name)
        # Events up to `until_ms` may come all the same, those up to what was decided may not.
        self._forget(max(last_ms, self.passed_ms))
        return made

    def pass_until(self, now_ms: int) -> list[Finding]:
        """Decide all that is due at or before `now_ms`."""
        return self.show((), now_ms)

    def open_episodes(self) -> list[Finding]:
        """What would be found if nothing more happened."""
        made: list[Finding] = []
        for known in self._set.all:
            state = self._state_of(known)
            if state is not None:
                try:
                    episodes = known.provisional(state)
                    judge = known.judge
                    if episodes and judge is not None:
                        seen = self._all_seen()
                        episodes = [one for one in episodes if judge.cover(one, seen) is None]
                    made.extend(episodes)
                except Exception:
                    self._drop(known.name)
        return made

    def _take(
        self,
        known: Known,
        events: Sequence[SessionEvent],
        last_ms: int,
        until_ms: int,
        made: list[Finding],
    ) -> None:
        """Take one detector through its events of those up to `last_ms`, and on until then."""
        name, on_event = known.name, known.on_event
        hidden_kinds = known.hidden_kinds
        before = state = self._state_of(known)
        needed = known.needed(events, last_ms) if state is None else events
        due_ms = self._due_ms(known, state)
        is_crowded: bool | None = None
        for event in needed:
            at_ms = event.at_ms
            if due_ms < at_ms:
                state, due_ms = self._pass(known, state, due_ms, at_ms - 1, made)
            if event.kind in hidden_kinds:
                if is_crowded is None:
                    is_crowded = self._is_crowded(known, events)
                if self._is_hidden(known, event, is_crowded):
                    continue
            after, found = on_event(state, event, at_ms)
            if found:
                self._judge(known, found, (at_ms, event.event_id), made)
            elif after is state:
                continue
            state = after
            due_ms = self._due_ms(known, state)
        if due_ms <= until_ms:
            state, due_ms = self._pass(known, state, due_ms, until_ms, made)
        if due_ms == END_MS and state is not None:
            state, due_ms = self._forgotten(known, state, until_ms)
        if state is not before:
            self._is_changed = True
            if state is None:
                del self._states[name]
            else:
                self._states[name] = state
        if due_ms != self._deadlines.get(name, END_MS):
            self._is_changed = True
            if due_ms == END_MS:
                del self._deadlines[name]
            else:
                self._deadlines[name] = due_ms

    def _due_ms(self, known: Known, state: Any) -> int:
        """When the detector decides something, or something of it that waits is decided."""
        due_ms = END_MS
        if state is not None and known.decides(state):
            wake_ms = known.wake_at_ms(state)
            if wake_ms is not None:
                due_ms = wake_ms
        waiting = self._waiting.get(known.name)
        return min([due_ms, *[each.until_ms for each in waiting]]) if waiting else due_ms

    def _pass(
        self, known: Known, state: Any, due_ms: int, until_ms: int, made: list[Finding]
    ) -> tuple[Any, int]:
        """The state and its deadline after all that is due at or before `until_ms`."""
        name = known.name
        while due_ms <= until_ms:
            if name in self._waiting:
                self._release(known, due_ms, made)
            if state is not None:
                state, found = known.on_time(state, due_ms)
                if found:
                    self._judge(known, found, (due_ms, LAST_ID), made)
            next_ms = self._due_ms(known, state)
            if next_ms <= due_ms:
                raise StandsStillError
            self.passed_ms = max(self.passed_ms, due_ms)
            due_ms = next_ms
        return state, due_ms

    def _forgotten(self, known: Known, state: Any, now_ms: int) -> tuple[Any, int]:
        """What is left of a state that decides nothing, and when to look at it again."""
        wake_ms = known.wake_at_ms(state)
        if wake_ms is not None and wake_ms <= now_ms:
            state, _ = known.on_time(state, now_ms)
            wake_ms = None if state is None else known.wake_at_ms(state)
            if wake_ms is not None and wake_ms <= now_ms:
                raise StandsStillError
        return state, END_MS if wake_ms is None else wake_ms + FORGOTTEN_AFTER_MS

    def _judge(
        self, known: Known, found: Sequence[Finding | Verdict], at: Order, made: list[Finding]
    ) -> None:
        """Sort what a detector found, decided at that moment, into `made` and what waits."""
        findings = [one for one in found if isinstance(one, Finding)]
        judge = known.judge
        if judge is None:
            made += findings
            return
        for finding in findings:
            if judge.cover(finding, self._seen_until(at)) is not None:
                continue
            until_ms = judge.waits_until_ms(finding)
            waiting = self._waiting.get(known.name, ())
            if until_ms > at[0] and len(waiting) < HELD_MAX:
                self._is_changed = True
                self._waiting[known.name] = (*waiting, Waiting(finding, until_ms))
            else:
                made.append(finding)

    def _release(self, known: Known, now_ms: int, made: list[Finding]) -> None:
        """Decide the findings that have waited long enough."""
        judge = known.judge
        assert judge is not None
        self._is_changed = True
        waiting = self._waiting.pop(known.name)
        left = tuple([each for each in waiting if each.until_ms > now_ms])
        if left:
            self._waiting[known.name] = left
        for each in sorted(waiting, key=lambda each: (each.until_ms, each.finding.at_ms)):
            if each.until_ms <= now_ms:
                seen = self._seen_until((each.until_ms, LAST_ID))
                if judge.cover(each.finding, seen) is None:
                    made.append(each.finding)

    def _is_crowded(self, known: Known, events: Sequence[SessionEvent]) -> bool:
        """Whether something came so soon before one of the events that it may hide it."""
        judge = known.judge
        assert judge is not None
        after_ms = judge.hides_after_ms
        evidence = self._evidence
        if evidence and events[0].at_ms - evidence[-1].at_ms <= after_ms:
            return True
        return any(later.at_ms - one.at_ms <= after_ms for one, later in pairwise(events))

    def _is_hidden(self, known: Known, event: SessionEvent, is_crowded: bool) -> bool:
        """Whether an exclusion hides this event."""
        judge = known.judge
        assert judge is not None
        if not is_crowded:
            return judge.hider(event, ()) is not None
        seen = self._all_seen()
        return judge.hider(event, seen[: bisect_left(seen, event.order, key=_order)]) is not None

    def _seen_until(self, at: Order) -> list[Evidence]:
        seen = self._all_seen()
        return seen[: bisect_right(seen, at, key=_order)]

    def _all_seen(self) -> list[Evidence]:
        """The evidence with that of the events being shown."""
        seen = self._seen
        if seen is None:
            seen = self._seen = list(self._evidence)
            takes = self._set.takes
            for event in self._recent:
                if event.kind in takes:
                    seen.append(evidence_of(event, seen))
        return seen

    def _forget(self, now_ms: int) -> None:
        """Keep the evidence that may still matter for what happens at `now_ms` or later."""
        states, waiting = self._states, self._waiting
        alive = tuple([name for name, _ in self._set.judged if name in states or name in waiting])
        kept_ms = self._set.kept_ms(alive)
        never = -END_MS
        evidence = [
            each for each in self._evidence if each.at_ms + kept_ms.get(each.kind, never) >= now_ms
        ]
        recent = [
            event
            for event in self._recent
            if event.at_ms + kept_ms.get(event.kind, never) >= now_ms
        ]
        if recent:
            if self._seen is None and not any(type(event.body) is PageError for event in recent):
                # What is known of others does not depend on what was before.
                evidence += [evidence_of(event, ()) for event in recent]
            else:
                ids = {event.event_id for event in recent}
                evidence += [each for each in self._all_seen() if each.event_id in ids]
        elif len(evidence) == len(self._evidence):
            return
        self._is_changed = True
        self._evidence = evidence[-EVIDENCE_MAX:]

    def _state_of(self, known: Known) -> Any:
        state = self._states.get(known.name)
        if isinstance(state, msgspec.Raw):
            try:
                return msgspec.msgpack.decode(state, type=known.state_type)
            except msgspec.MsgspecError:
                # Of another version: it begins anew.
                self.failures += 1
                self._is_changed = True
                del self._states[known.name]
                return None
        return state

    def _drop(self, name: str) -> None:
        self._is_changed = True
        self.failures += 1
        if len(self._failed) < FAILED_MAX:
            self._failed.add(name)
        self._states.pop(name, None)
        self._deadlines.pop(name, None)
        self._waiting.pop(name, None)
