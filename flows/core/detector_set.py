"""The detectors of one project, prepared to be asked of many sessions.

What is the same for all sessions is found once: the bound parts of each detector, the judge of its
exclusions, which detectors take which kind of event, and how long which evidence may matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from flows.core.detectors.detector import Detector, Opening
from flows.core.detectors.excluding import Excluding
from flows.core.detectors.exclusion_judge import LINGERS_MS, Judge
from flows.core.insight import Finding, Verdict
from flows.core.session_event import SessionEvent
from flows.core.session_run import END_MS

Made = tuple[Any, Sequence[Finding | Verdict]]


class Known(NamedTuple):
    """A detector's parts, bound, and the judge of its exclusions."""

    name: str
    on_event: Callable[[Any, SessionEvent, int], Made]
    on_time: Callable[[Any, int], Made]
    wake_at_ms: Callable[[Any], int | None]
    provisional: Callable[[Any], Sequence[Finding]]
    decides: Callable[[Any], bool]
    needed: Callable[[Sequence[SessionEvent], int], Sequence[SessionEvent]]
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
        self.takers: dict[str, tuple[int, ...]] = {
            kind: tuple(place for place, known in enumerate(self.all) if kind in known.kinds)
            for kind in self.kinds
        }
        self.judged = [(known.name, known.judge) for known in self.all if known.judge is not None]
        self.takes = frozenset[str]().union(*(judge.takes for _, judge in self.judged))
        self._kept: dict[tuple[str, ...], dict[str, int]] = {}

    def next_ms(self, deadlines: Mapping[str, int]) -> int:
        """When one of these detectors must be told the time; `END_MS` is never."""
        names = self.names
        return min([at_ms for name, at_ms in deadlines.items() if name in names], default=END_MS)

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


def _all(events: Sequence[SessionEvent], _last_ms: int) -> Sequence[SessionEvent]:
    return events


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
        getattr(detector, "needed", _all),
        getattr(detector, "opening", None),
        detector.kinds,
        detector.state_type,
        judge,
        frozenset() if judge is None else judge.hidden_kinds,
    )
