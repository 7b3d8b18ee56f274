"""Two sets of rules over the same history: who fires under both, who under one alone.

In: sessions one after the other, with the detectors of both rules. Out: a `Comparison`, whose
memory is bounded by types, days, pages and sessions named, not by events. Two findings are the
same if they are of one type and share an event of evidence: a burst that a milder rule sees begin
earlier is still that burst. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from flows.core.detector_set import DetectorSet
from flows.core.detectors.detector import Detector
from flows.core.insight import Finding
from flows.core.live_detectors import LiveDetectors
from flows.core.session_event import SessionEvent
from flows.core.session_run import END_MS, in_order

DAY_MS = 86_400_000
# Distinct pages that are counted by themselves; further ones are counted as OTHER_PAGES.
PAGES_MAX = 10_000
OTHER_PAGES = "(other pages)"
# Session ids kept of each type and side: 36 bytes each, and as much again for the set.
SESSIONS_MAX = 100_000

BOTH, ONLY_OLD, ONLY_NEW = SIDES = ("both", "only_old", "only_new")


class Sides(msgspec.Struct, frozen=True):
    """A count for each side."""

    both: int = 0
    only_old: int = 0
    only_new: int = 0


class DayCount(msgspec.Struct, frozen=True):
    """Insights of one day in UTC; `day_ms` is its start."""

    day_ms: int
    insights: Sides


class PageCount(msgspec.Struct, frozen=True):
    """Insights on one path."""

    path: str
    insights: Sides


class SessionIds(msgspec.Struct, frozen=True):
    """Sessions by side, in order of id; at most SESSIONS_MAX of each."""

    both: tuple[str, ...] = ()
    only_old: tuple[str, ...] = ()
    only_new: tuple[str, ...] = ()


class TypeComparison(msgspec.Struct, frozen=True):
    """What changes for one detector. `by_page` has the pages with most difference first."""

    insight_type: str
    insights: Sides
    sessions: Sides
    by_day: tuple[DayCount, ...]
    by_page: tuple[PageCount, ...]
    session_ids: SessionIds


class _Tally:
    def __init__(self) -> None:
        self.insights: Counter[str] = Counter()
        self.sessions: Counter[str] = Counter()
        self.days: dict[int, Counter[str]] = {}
        self.pages: dict[str, Counter[str]] = {}
        self.session_ids: dict[str, list[str]] = {side: [] for side in SIDES}

    def add(self, session_id: str, old: Sequence[Finding], new: Sequence[Finding]) -> None:
        for finding, side in matched(old, new):
            self.insights[side] += 1
            day_ms = finding.at_ms - finding.at_ms % DAY_MS
            self.days.setdefault(day_ms, Counter())[side] += 1
            path = finding.path
            if path not in self.pages and len(self.pages) >= PAGES_MAX:
                path = OTHER_PAGES
            self.pages.setdefault(path, Counter())[side] += 1
        if old or new:
            side = BOTH if old and new else ONLY_OLD if old else ONLY_NEW
            self.sessions[side] += 1
            if len(self.session_ids[side]) < SESSIONS_MAX:
                self.session_ids[side].append(session_id)


class Comparison:
    """Adds sessions up; see the module's text. `old` and `new` have the same types."""

    def __init__(self, old: Sequence[Detector[Any]], new: Sequence[Detector[Any]]) -> None:
        self._old, self._new = DetectorSet(old), DetectorSet(new)
        names = {detector.insight_type for detector in (*old, *new)}
        self._tallies = {name: _Tally() for name in sorted(names)}
        self.session_count = 0
        self.event_count = 0

    @property
    def kinds(self) -> frozenset[str]:
        """The types of events that some detector takes; no others need to be added."""
        return self._old.kinds | self._new.kinds

    def add(self, session_id: str, events: Sequence[SessionEvent]) -> None:
        """One whole session, its events in any order."""
        self.session_count += 1
        self.event_count += len(events)
        ordered = in_order(events)
        old = findings_of(self._old, ordered)
        new = findings_of(self._new, ordered)
        for name, tally in self._tallies.items():
            if name in old or name in new:
                tally.add(session_id, old.get(name, ()), new.get(name, ()))

    def result(self) -> tuple[TypeComparison, ...]:
        """By type, in order of name; may be asked for at any time."""
        return tuple(_compared(name, tally) for name, tally in self._tallies.items())


def findings_of(
    detectors: DetectorSet, ordered: Sequence[SessionEvent]
) -> dict[str, list[Finding]]:
    """What is found in a whole session, by type; events must come in order, each once.

    A detector that raises is dropped for the session, as in the flow.
    """
    run = LiveDetectors(detectors)
    found: dict[str, list[Finding]] = {}
    made = run.show(ordered)
    for finding in (*made, *run.pass_until(END_MS)):
        found.setdefault(finding.insight_type, []).append(finding)
    return found


def matched(old: Sequence[Finding], new: Sequence[Finding]) -> list[tuple[Finding, str]]:
    """Each insight once with its side; of those on both sides the new finding is given."""
    owner: dict[str, int] = {}  # Event of evidence -> place in `old`.
    for place, finding in enumerate(old):
        for event_id in _evidence(finding):
            owner.setdefault(event_id, place)
    left = set(range(len(old)))
    pairs: list[tuple[Finding, str]] = []
    for finding in new:
        places = {owner[event_id] for event_id in _evidence(finding) if event_id in owner} & left
        if places:
            left.discard(min(places))
        pairs.append((finding, BOTH if places else ONLY_NEW))
    pairs.extend((old[place], ONLY_OLD) for place in sorted(left))
    return pairs


def _evidence(finding: Finding) -> tuple[str, ...]:
    return (finding.anchor_event_id, *finding.related_event_ids)


def _sides(counts: Counter[str]) -> Sides:
    return Sides(*(counts[side] for side in SIDES))


def _compared(name: str, tally: _Tally) -> TypeComparison:
    pages = [PageCount(path, _sides(counts)) for path, counts in tally.pages.items()]
    pages.sort(
        key=lambda page: (
            -page.insights.only_old - page.insights.only_new,
            -page.insights.both,
            page.path,
        )
    )
    return TypeComparison(
        insight_type=name,
        insights=_sides(tally.insights),
        sessions=_sides(tally.sessions),
        by_day=tuple(DayCount(day_ms, _sides(tally.days[day_ms])) for day_ms in sorted(tally.days)),
        by_page=tuple(pages),
        session_ids=SessionIds(*(tuple(sorted(tally.session_ids[side])) for side in SIDES)),
    )
