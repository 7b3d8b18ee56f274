"""Exclusions around one detector: the reference for what `flows.core.live_detectors` does for all.

In: what the detector takes, and the events that exclusions look at. Out: what the detector says
without that which an exclusion covers. The rule itself stays as it is: an exclusion can hide events
from it, or cover what it found, at once or, where the reason shows only later, after waiting.

State is the detector's own, the evidence of the last minutes (bounded), and findings that wait.
Time is told as to the detector itself: what waits is decided by its deadline, not by the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from flows.core.detectors.detector import Detector
from flows.core.detectors.evidence import Evidence, Exclusion, evidence_of
from flows.core.detectors.exclusion_judge import LINGERS_MS, Judge
from flows.core.insight import Finding, Verdict
from flows.core.session_event import SessionEvent

EVIDENCE_MAX = 512
HELD_MAX = 32

State = TypeVar("State")


class HeldFinding(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A finding that may still be covered, until then; with what was told of it."""

    finding: Finding
    until_ms: int
    verdicts: tuple[Verdict, ...] = ()


class ExcludingState(msgspec.Struct, Generic[State], frozen=True, array_like=True, gc=False):
    """Of one session."""

    inner: State | None
    evidence: tuple[Evidence, ...] = ()
    held: tuple[HeldFinding, ...] = ()


class Excluding(Generic[State]):
    """See the module: a detector around a detector, `inner`, and what `judge` says of it."""

    def __init__(
        self, inner: Detector[State], exclusions: Sequence[Exclusion], *, explain: bool = False
    ) -> None:
        self.inner = inner
        self.judge = Judge(inner.kinds, exclusions)
        self._explain = explain
        self.insight_type = inner.insight_type
        self.rule_version = inner.rule_version
        self.kinds = inner.kinds | frozenset(self.judge.takes)
        self.state_type: Any = ExcludingState[inner.state_type]  # type: ignore[name-defined]

    def on_event(
        self, state: ExcludingState[State] | None, event: SessionEvent, now_ms: int
    ) -> tuple[ExcludingState[State] | None, Sequence[Finding | Verdict]]:
        """Take one event, as the detector or as evidence."""
        kind, at_ms = event.kind, event.at_ms
        made: list[Finding | Verdict] = []
        inner: State | None = None
        evidence: tuple[Evidence, ...] = ()
        held: tuple[HeldFinding, ...] = ()
        if state is not None:
            inner, evidence, held = state.inner, state.evidence, state.held
            if inner is not None and self._is_due(inner, at_ms):
                # What was due before may only see the evidence from before.
                inner, told = self.inner.on_time(inner, at_ms - 1)
                held = self._judge(told, evidence, held, at_ms - 1, made)
            held = self._release(held, at_ms - 1, made)
        hider = None
        if kind in self.judge.hidden_kinds:
            hider = self.judge.hider(event, evidence)
        if kind in self.judge.takes:
            evidence = (*evidence, evidence_of(event, evidence))[-EVIDENCE_MAX:]
        if hider is not None:
            if self._explain:
                made.append(Verdict(self.insight_type, event.event_id, "suppressed", hider.name))
        elif kind in self.inner.kinds:
            inner, told = self.inner.on_event(inner, event, now_ms)
            held = self._judge(told, evidence, held, at_ms, made)
        if held:
            held = self._covered(held, evidence, made)
        return self._state(inner, evidence, held, at_ms), made

    def on_time(
        self, state: ExcludingState[State], now_ms: int
    ) -> tuple[ExcludingState[State] | None, Sequence[Finding | Verdict]]:
        """Let the detector decide what is due, and what waited long enough."""
        inner, held = state.inner, state.held
        made: list[Finding | Verdict] = []
        if inner is not None:
            inner, told = self.inner.on_time(inner, now_ms)
            held = self._judge(told, state.evidence, held, now_ms, made)
        held = self._release(held, now_ms, made)
        return self._state(inner, state.evidence, held, now_ms + 1), made

    def wake_at_ms(self, state: ExcludingState[State]) -> int | None:
        """When the detector, a waiting finding or the last evidence is due."""
        inner_ms = None if state.inner is None else self.inner.wake_at_ms(state.inner)
        if not state.held:
            if state.inner is not None:
                return inner_ms
            return max(each.at_ms + self.judge.takes[each.kind] for each in state.evidence)
        held_ms = min(each.until_ms for each in state.held)
        return held_ms if inner_ms is None else min(inner_ms, held_ms)

    def provisional(self, state: ExcludingState[State]) -> Sequence[Finding]:
        """The detector's, without what is covered already."""
        if state.inner is None:
            return ()
        return [
            finding
            for finding in self.inner.provisional(state.inner)
            if self.judge.cover(finding, state.evidence) is None
        ]

    def _is_due(self, inner: State, at_ms: int) -> bool:
        wake_at_ms = self.inner.wake_at_ms(inner)
        return wake_at_ms is not None and wake_at_ms < at_ms

    def _state(
        self,
        inner: State | None,
        evidence: tuple[Evidence, ...],
        held: tuple[HeldFinding, ...],
        from_ms: int,
    ) -> ExcludingState[State] | None:
        """What is worth knowing for events that happen at `from_ms` or later."""
        is_idle = inner is None and not held
        lingers_ms = 0 if is_idle else LINGERS_MS
        takes = self.judge.takes
        if evidence:
            evidence = tuple(
                [each for each in evidence if each.at_ms + takes[each.kind] + lingers_ms >= from_ms]
            )
        if is_idle and not evidence:
            return None
        return ExcludingState(inner, evidence, held)

    def _judge(
        self,
        told: Sequence[Finding | Verdict],
        evidence: tuple[Evidence, ...],
        held: tuple[HeldFinding, ...],
        now_ms: int,
        made: list[Finding | Verdict],
    ) -> tuple[HeldFinding, ...]:
        """Sort what the detector says into `made` and what is held."""
        last: Finding | None = None
        cover: Exclusion | None = None
        until_ms = 0
        for each in told:
            if isinstance(each, Finding):
                last = each
                cover = self.judge.cover(each, evidence)
                until_ms = self.judge.waits_until_ms(each) if cover is None else 0
                if until_ms > now_ms and len(held) < HELD_MAX:
                    held = (*held, HeldFinding(each, until_ms))
                else:
                    until_ms = 0
                    if cover is None:
                        made.append(each)
            elif last is None or not _is_of(each, last):
                made.append(each)
            elif cover is not None:
                made.append(_suppressed(each, cover))
            elif until_ms:
                waiting = held[-1]
                verdicts = (*waiting.verdicts, each)
                held = (*held[:-1], HeldFinding(waiting.finding, waiting.until_ms, verdicts))
            else:
                made.append(each)
        return held

    def _covered(
        self,
        held: tuple[HeldFinding, ...],
        evidence: tuple[Evidence, ...],
        made: list[Finding | Verdict],
    ) -> tuple[HeldFinding, ...]:
        left = []
        for each in held:
            cover = self.judge.cover(each.finding, evidence)
            if cover is None:
                left.append(each)
            else:
                made.extend(_suppressed(verdict, cover) for verdict in each.verdicts)
        return tuple(left) if len(left) < len(held) else held

    def _release(
        self, held: tuple[HeldFinding, ...], now_ms: int, made: list[Finding | Verdict]
    ) -> tuple[HeldFinding, ...]:
        if all(each.until_ms > now_ms for each in held):
            return held
        for each in sorted(held, key=lambda each: (each.until_ms, each.finding.at_ms)):
            if each.until_ms <= now_ms:
                made.append(each.finding)
                made.extend(each.verdicts)
        return tuple([each for each in held if each.until_ms > now_ms])


def _is_of(verdict: Verdict, finding: Finding) -> bool:
    """Whether the verdict was told of this finding."""
    return verdict.outcome in ("fired", "part") and (
        verdict.event_id == finding.anchor_event_id or verdict.evidence == finding.related_event_ids
    )


def _suppressed(verdict: Verdict, cover: Exclusion) -> Verdict:
    return msgspec.structs.replace(verdict, outcome="suppressed", reason=cover.name)
