"""Detectors over a session in pieces, against the reference over all of it.

Where a piece ends, what is remembered is stored and restored: what was shown before must be neither
needed beyond what is kept, nor matter longer than the reference says.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.core.detection_rules import rules_of_document
from flows.core.detector_memory import NOTHING, DetectorMemory
from flows.core.detector_set import DetectorSet
from flows.core.detectors.detector import Detector
from flows.core.insight import Finding
from flows.core.live_detectors import LiveDetectors
from flows.core.session_event import SessionEvent
from flows.core.session_run import END_MS, in_order, run_session
from tests.session_schedules import ACTIONS, REASONS, START_MS, Story, make_visit
from tests.toy_detectors import SIX

EXCLUDING = rules_of_document({}).detectors()
EXAMPLES = max(300, int(os.environ.get("GOSIGHT_SCHEDULES", "0")))

gaps_ms = st.one_of(
    st.integers(0, 3_000), st.sampled_from((0, 40, 500, 1_000, 10_000, 29_000, 95_000, 310_000))
)
visits = st.builds(
    make_visit,
    st.integers(0, 2**32),
    st.lists(st.tuples(st.sampled_from(ACTIONS + REASONS * 2), gaps_ms), max_size=14),
)


def found_in_pieces(
    detectors: Sequence[Detector[Any]],
    events: Sequence[SessionEvent],
    chance: random.Random,
    cuts: float,
) -> list[Finding]:
    """What is found if the events are cut at random, and time passes in between."""
    ready = DetectorSet(detectors)
    taken = [event for event in in_order(events) if event.kind in ready.kinds]
    made: list[Finding] = []
    memory = NOTHING
    piece: list[SessionEvent] = []
    for place, event in enumerate(taken):
        piece.append(event)
        next_ms = taken[place + 1].at_ms if place + 1 < len(taken) else END_MS
        if next_ms == event.at_ms or (next_ms != END_MS and chance.random() >= cuts):
            continue  # Those of one millisecond are shown together.
        live = LiveDetectors(ready, memory)
        made += live.show(piece)
        if next_ms > event.at_ms and chance.random() < 0.7:
            # As far as is decided by time alone: never up to what is still to come.
            made += live.pass_until(min(chance.randint(event.at_ms, next_ms - 1), END_MS))
        assert live.failures == 0
        memory, piece = DetectorMemory.restored(live.memory.stored), []
    made += LiveDetectors(ready, memory).pass_until(END_MS)
    return sorted(made, key=repr)


def reference(detectors: Sequence[Detector[Any]], events: Sequence[SessionEvent]) -> list[Finding]:
    """What the definition finds in the whole."""
    made = [one for one in run_session(detectors, events) if isinstance(one, Finding)]
    return sorted(made, key=repr)


@pytest.mark.parametrize("detectors", [EXCLUDING, SIX], ids=["excluding", "bare"])
@settings(max_examples=EXAMPLES, deadline=None)
@given(events=visits, seed=st.integers(0, 2**32), cuts=st.sampled_from((0.0, 0.1, 0.5, 1.0)))
def test_pieces_give_what_the_whole_gives(
    detectors: tuple[Detector[Any], ...], events: list[SessionEvent], seed: int, cuts: float
) -> None:
    """Wherever a session is cut, stored and restored, and however time is told in between."""
    pieces = found_in_pieces(detectors, events, random.Random(seed), cuts)
    assert pieces == reference(detectors, events)


@pytest.mark.parametrize("cuts", [0.0, 1.0])
def test_every_reason_is_given_and_kept_to(cuts: float) -> None:
    """The visits do hold what exclusions are for: without them there are other findings."""
    story = Story(random.Random(3))
    for action in REASONS * 12:
        story.act(action, 5_000)
    found = found_in_pieces(EXCLUDING, story.events, random.Random(1), cuts)
    bare = {(one.insight_type, one.anchor_event_id) for one in reference(SIX, story.events)}
    left = {(one.insight_type, one.anchor_event_id) for one in found}
    assert {kind for kind, _ in bare - left} == {
        "rage_click", "dead_click", "error_click", "thrashed_cursor",
    }  # fmt: skip


def test_evidence_is_forgotten_when_nothing_remembers() -> None:
    """What a quiet session keeps is what the last pages were, and that for two minutes."""
    story = Story(random.Random(5), at_ms=1_000)
    for action in ("burst", "select", "scroll", "handled", "background", "view", "view"):
        story.act(action, 2_000)
    ready = DetectorSet(EXCLUDING)
    events = [event for event in in_order(story.events) if event.kind in ready.kinds]
    live = LiveDetectors(ready)
    live.show(events)
    live.pass_until(events[-1].at_ms + 60_000)
    kinds = {each.kind for each in live.memory.opened.evidence}
    assert kinds == {"page_view", "js_error"}
    later = story.put("page_view", None)
    later = SessionEvent(
        later.event_id, "page_view", START_MS + 10_000_000, 0, later.page, later.visitor,
        later.device,
    )  # fmt: skip
    live = LiveDetectors(ready, live.memory)
    live.show([later])
    assert [each.event_id for each in live.memory.opened.evidence] == [later.event_id]
