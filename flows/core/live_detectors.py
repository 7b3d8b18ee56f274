"""Detectors over a session that goes on: what `session_run.DetectorRun` does, with less work.

In: a session's events in the order they happened, and the visitor's time. Out: findings. Each
detector is taken through a stretch of events by itself, which gives the same findings, those of one
detector after those of another. Exclusions around detectors look at one memory of the session
instead of one each, and only when there is something to judge. States that were stored are opened
when they are needed, and deadlines are stored with them. A detector that raises, or whose deadline
does not move on, is dropped for the session: the others, and the session's totals, are worth more
than its findings.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from flows.core.detector_memory import NOTHING, DetectorMemory, Opened, Waiting
from flows.core.detectors.detector import Detector, Opening
from flows.core.detectors.evidence import Evidence, evidence_of
from flows.core.detectors.excluding import EVIDENCE_MAX, HELD_MAX, Excluding
from flows.core.detectors.exclusion_judge import LINGERS_MS, Judge
from flows.core.held_events import Order
from flows.core.insight import Finding, Verdict
from flows.core.session_event import PageError, SessionEvent
from flows.core.session_run import END_MS

FAILED_MAX = 32  # Names of dropped detectors kept with a session.
LAST_ID = "~"  # After every event id.
FORGOTTEN_AFTER_MS = 60_000  # Of a deadline at which there is nothing to decide.

Made = tuple[Any, Sequence[Finding | Verdict]]

_order = attrgetter("at_ms", "event_id")


class StandsStillError(Exception):
    """A detector asks for the same time again and again."""


class Known(NamedTuple):
    """A detector's parts, bound, and the judge of its exclusions."""

    name: str
    on_event: Callable[[Any, SessionEvent, int], Made]
    on_time: Callable[[Any, int], Made]
    wake_at_ms: Callable[[Any], int | None]
    provisional: Callable[[Any], Sequence[Finding]]
    decides: Callable[[Any], bool]
    opening: Opening | None
    kinds: frozenset[str]
    state_type: Any
    judge: Judge | None
    hidden_kinds: frozenset[str]


class DetectorSet:
    """The detectors of a project, and all kinds of events that they and their exclusions take.

    `announced` are those of them whose episodes are announced; None without any.
    """

    def __init__(self, detectors: Sequence[Detector[Any]]) -> None:
        self.all = tuple(_known(detector) for detector in detectors)
        named = [
            detector
            for detector, known in zip(detectors, self.all, strict=True)
            if known.opening is not None
        ]
        is_part = 0 < len(named) < len(detectors)
        self.announced = DetectorSet(named) if is_part else self if named else None
        self.names = frozenset(known.name for known in self.all)
        self.kinds = frozenset[str]().union(*(detector.kinds for detector in detectors))
        self.judged = [(known.name, known.judge) for known in self.all if known.judge is not None]
        self.takes = frozenset[str]().union(*(judge.takes for _, judge in self.judged))
        self._kept: dict[tuple[str, ...], dict[str, int]] = {}

    def next_ms(self, deadlines: Mapping[str, int], forgetting: Iterable[str]) -> int:
        """When one of these detectors must be told the time; `END_MS` is never.

        Those that only forget something then can be told a while later.
        """
        if not deadlines:
            return END_MS
        names = self.names
        return min(
            [
                at_ms + FORGOTTEN_AFTER_MS if name in forgetting else at_ms
                for name, at_ms in deadlines.items()
                if name in names
            ],
            default=END_MS,
        )

    def kept_ms(self, alive: tuple[str, ...]) -> Mapping[str, int]:
        """How long each kind of evidence may matter while these detectors remember something."""
        kept = self._kept.get(alive)
        if kept is None:
            kept = self._kept[alive] = {}
            for name, judge in self.judged:
                lingers_ms = LINGERS_MS if name in alive else 0
                for kind, keep_ms in judge.takes.items():
                    # What matters from a finding on is of no use before there can be one.
                    if keep_ms or lingers_ms:
                        kept[kind] = max(keep_ms + lingers_ms, kept.get(kind, 0))
        return kept


def _may_decide(_state: Any) -> bool:
    return True


def _known(detector: Detector[Any]) -> Known:
    judge: Judge | None = None
    if isinstance(detector, Excluding):
        judge = detector.judge
        detector = detector.inner
    return Known(
        detector.insight_type,
        detector.on_event,
        detector.on_time,
        detector.wake_at_ms,
        detector.provisional,
        getattr(detector, "decides", _may_decide),
        getattr(detector, "opening", None),
        detector.kinds,
        detector.state_type,
        judge,
        frozenset() if judge is None else judge.hidden_kinds,
    )


class LiveDetectors:
    """One session's detectors at work: on what is remembered of it, which stays as it is."""

    __slots__ = (
        "_before",
        "_deadlines",
        "_evidence",
        "_failed",
        "_forgetting",
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
        self._forgetting = set(memory.forgetting)
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
        return DetectorMemory(opened, dict(self._deadlines), tuple(sorted(self._forgetting)))

    @property
    def next_ms(self) -> int:
        """When the time must be told; `END_MS` is never."""
        return self._set.next_ms(self._deadlines, self._forgetting)

    def clear(self) -> None:
        """Forget all that happened."""
        self._is_changed = True
        self._states.clear()
        self._deadlines.clear()
        self._forgetting.clear()
        self._waiting.clear()
        self._evidence = ()

    def show(self, events: Sequence[SessionEvent]) -> list[Finding]:
        """Take events, in order; decide what was due before each of them, and the last one."""
        made: list[Finding] = []
        if not events:
            return made
        failed, deadlines = self._failed, self._deadlines
        self._recent, self._seen = events, None
        last_ms = events[-1].at_ms
        for known in self._set.all:
            kinds = known.kinds
            mine = [event for event in events if event.kind in kinds]
            if not mine and deadlines.get(known.name, END_MS) >= last_ms:
                continue
            if failed and known.name in failed:
                continue
            self._try(known, mine, last_ms - 1, made)
        self._forget(last_ms)
        return made

    def pass_until(self, now_ms: int) -> list[Finding]:
        """Decide all that is due at or before `now_ms`."""
        made: list[Finding] = []
        is_done = False
        for known in self._set.all:
            if self._deadlines.get(known.name, now_ms + 1) <= now_ms:
                self._try(known, (), now_ms, made)
                is_done = is_done or known.name not in self._states
        if is_done and self._evidence:
            # Events up to `now_ms` may still come, those up to what was decided may not.
            self._forget(self.passed_ms)
        return made

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

    def _try(
        self, known: Known, events: Sequence[SessionEvent], until_ms: int, made: list[Finding]
    ) -> None:
        self._is_changed = True
        try:
            self._take(known, events, until_ms, made)
        except Exception:  # A detector's fault must not cost the session.
            self._drop(known.name)

    def _take(
        self, known: Known, events: Sequence[SessionEvent], until_ms: int, made: list[Finding]
    ) -> None:
        """Take one detector through its events, and on until then."""
        name, on_event, wake_at_ms = known.name, known.on_event, known.wake_at_ms
        hidden_kinds = known.hidden_kinds
        state = self._state_of(known)
        due_ms = self._deadlines.get(name, END_MS)
        before: SessionEvent | None = None
        for event in events:
            at_ms = event.at_ms
            if due_ms < at_ms:
                state, due_ms = self._pass(known, state, due_ms, at_ms - 1, made)
            if event.kind in hidden_kinds and self._is_hidden(known, event, before):
                before = event
                continue
            before = event
            after, found = on_event(state, event, at_ms)
            if found:
                self._judge(known, found, (at_ms, event.event_id), made)
                due_ms = 0
            if after is not state:
                state = after
                due_ms = 0
            if not due_ms:
                wake_ms = None if state is None else wake_at_ms(state)
                due_ms = END_MS if wake_ms is None else wake_ms
                if name in self._waiting:
                    due_ms = min(due_ms, self._released_ms(name))
        if due_ms < END_MS and due_ms <= until_ms:
            state, due_ms = self._pass(known, state, due_ms, until_ms, made)
        if state is None:
            self._states.pop(name, None)
        else:
            self._states[name] = state
        if due_ms == END_MS:
            self._deadlines.pop(name, None)
            self._forgetting.discard(name)
            return
        self._deadlines[name] = due_ms
        if name in self._waiting or known.decides(state):
            self._forgetting.discard(name)
        else:
            self._forgetting.add(name)

    def _pass(
        self, known: Known, state: Any, due_ms: int, until_ms: int, made: list[Finding]
    ) -> tuple[Any, int]:
        """The state and its deadline after all that is due at or before `until_ms`."""
        name = known.name
        while due_ms <= until_ms:
            if name in self._waiting:
                self._release(known, due_ms, made)
            next_ms = END_MS
            if state is not None:
                state, found = known.on_time(state, due_ms)
                if found:
                    self._judge(known, found, (due_ms, LAST_ID), made)
                wake_ms = None if state is None else known.wake_at_ms(state)
                if wake_ms is not None:
                    next_ms = wake_ms
            if name in self._waiting:
                next_ms = min(next_ms, self._released_ms(name))
            if next_ms <= due_ms:
                raise StandsStillError
            if due_ms > self.passed_ms and due_ms < END_MS:
                self.passed_ms = due_ms
            due_ms = next_ms
        return state, due_ms

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
                self._waiting[known.name] = (*waiting, Waiting(finding, until_ms))
            else:
                made.append(finding)

    def _release(self, known: Known, now_ms: int, made: list[Finding]) -> None:
        """Decide the findings that have waited long enough."""
        judge = known.judge
        assert judge is not None
        waiting = self._waiting.pop(known.name)
        left = tuple([each for each in waiting if each.until_ms > now_ms])
        if left:
            self._waiting[known.name] = left
        for each in sorted(waiting, key=lambda each: (each.until_ms, each.finding.at_ms)):
            if each.until_ms <= now_ms:
                seen = self._seen_until((each.until_ms, LAST_ID))
                if judge.cover(each.finding, seen) is None:
                    made.append(each.finding)

    def _released_ms(self, name: str) -> int:
        return min([each.until_ms for each in self._waiting[name]])

    def _is_hidden(self, known: Known, event: SessionEvent, before: SessionEvent | None) -> bool:
        """Whether an exclusion hides this event; `before` is what the detector came across last."""
        judge = known.judge
        assert judge is not None
        from_ms = event.at_ms - judge.hides_after_ms
        if before is not None:
            is_near = before.at_ms >= from_ms
        else:
            is_near = bool(self._evidence) and self._evidence[-1].at_ms >= from_ms
        if not is_near:
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
        self._recent, self._seen = (), None
        if evidence or self._evidence:
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
                return None
        return state

    def _drop(self, name: str) -> None:
        self._is_changed = True
        self.failures += 1
        if len(self._failed) < FAILED_MAX:
            self._failed.add(name)
        self._states.pop(name, None)
        self._deadlines.pop(name, None)
        self._forgetting.discard(name)
        self._waiting.pop(name, None)
