"""Any order of arrival, any batches, any restarts, any lateness: the same session.

GOSIGHT_SCHEDULES sets how many schedules are tried; `make schedules` tries 2,000.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.core.behaviour import IDLE_MS, BehaviourMachine
from flows.core.detection_rules import rules_of_document
from flows.core.detectors.detector import Detector
from flows.core.experience import InsightCounts
from flows.core.insight import Finding, Insight, insight_of
from flows.core.session_event import Place, SessionBatch, SessionEvent
from flows.core.session_row import SessionRow
from flows.core.session_run import run_session
from flows.core.sessionizer import add_batch, session_row
from tests.session_schedules import (
    ACTIONS,
    PROJECT,
    REASONS,
    SESSION,
    Clock,
    Delivery,
    are_consecutive,
    deliver,
    flushed,
    make_visit,
)
from tests.toy_detectors import SIX, TOYS, ToyRules

EXCLUDING = rules_of_document({}).detectors()

SCHEDULES = int(os.environ.get("GOSIGHT_SCHEDULES", "200"))
HOUR_MS = 3_600_000

gaps_ms = st.one_of(
    st.integers(0, 3_000),
    st.sampled_from((0, 1_000, 1_001, 2_000, 2_001, 5_999, 6_000, 6_001, 10_000, 700_000)),
)
visits = st.builds(
    make_visit,
    st.integers(0, 2**32),
    st.lists(st.tuples(st.sampled_from(ACTIONS + REASONS), gaps_ms), max_size=12),
)


long_visits = st.builds(
    make_visit,
    st.integers(0, 2**32),
    st.lists(
        st.tuples(
            st.sampled_from(ACTIONS + REASONS),
            st.one_of(gaps_ms, st.sampled_from((2_000_000, 3_400_000))),
        ),
        max_size=12,
    ),
)


def delays_of(
    events: Sequence[SessionEvent], rules: ToyRules, chance: random.Random, way: str
) -> list[int]:
    """Delays that differ by at most the hold, but for those that drift."""
    base_ms = chance.choice((0, 0, 40, 20_000, -1_500))
    hold_ms = rules.hold_ms
    if way == "drifting":
        return drifting(events, rules, chance)
    if way == "flushed":
        return [base_ms + ms for ms in flushed(events, max(1, hold_ms // 2), hold_ms // 2)]
    if way == "extreme":
        return [base_ms + chance.choice((0, hold_ms)) for _ in events]
    return [base_ms + chance.randint(0, hold_ms) for _ in events]


def drifting(events: Sequence[SessionEvent], rules: ToyRules, chance: random.Random) -> list[int]:
    """Delays as far apart as may be: they count from event to event among those that are held."""
    hold_ms = rules.hold_ms
    kinds = frozenset[str]().union(*(detector.kinds for detector in rules.made))
    latest_ms = before_at_ms = before_ms = None
    delays: dict[str, int] = {}
    for event in sorted(events, key=lambda event: event.order):
        if event.kind not in kinds:
            # Not half an hour after the others, which would close the session.
            drift_ms = 0 if before_ms is None or before_at_ms is None else before_ms - before_at_ms
            delays[event.event_id] = drift_ms + chance.randint(0, 60_000)
            continue
        received_ms = event.at_ms
        if latest_ms is not None and before_ms is not None and before_at_ms is not None:
            least_ms = latest_ms - hold_ms
            most_ms = before_ms + event.at_ms - before_at_ms + hold_ms
            received_ms = chance.choice((least_ms, most_ms, chance.randint(least_ms, most_ms)))
        latest_ms = received_ms if latest_ms is None else max(latest_ms, received_ms)
        before_at_ms, before_ms = event.at_ms, received_ms
        delays[event.event_id] = received_ms - event.at_ms
    return [delays[event.event_id] for event in events]


def expected(
    parts: Sequence[Sequence[SessionEvent]], rules: ToyRules
) -> tuple[SessionRow, list[Insight]]:
    """What the session is, seen as a whole: totals in one batch, insights by the reference.

    `parts` are its events up to each closing.
    """
    found = InsightCounts()
    insights = []
    for made in chain.from_iterable(run_session(rules.detectors(), part) for part in parts):
        assert isinstance(made, Finding)
        insight = insight_of(made, PROJECT, SESSION)
        insights.append(insight)
        found = found.adding(
            made.insight_type, insight.insight_id, made.at_ms, made.anchor_event_id
        )
    events = list(chain.from_iterable(parts))
    batch = SessionBatch(PROJECT, SESSION, 0, tuple(events), Place("Sweden"), 30)
    row = session_row(
        add_batch(None, batch, events), found, revision=0, is_closed=True, retain_days=30
    )
    return row, sorted(insights, key=lambda one: one.insight_id)


def recounted(events: Sequence[SessionEvent]) -> dict[str, int]:
    """Some columns, counted plainly."""
    kinds = [event.kind for event in events]
    times = [event.at_ms for event in events]
    return {
        "event_count": sum(kind != "dom_mutation" for kind in kinds),
        "page_count": kinds.count("page_view"),
        "click_count": kinds.count("click"),
        "error_count": kinds.count("js_error"),
        "started_at_ms": min(times),
        "ended_at_ms": max(times),
        "duration_ms": max(times) - min(times),
        "goals_completed": kinds.count("goal"),
    }


def play(
    deliveries: Sequence[Delivery], rules: ToyRules, *, seed: int = 0, habit: str = "exact"
) -> Clock:
    """All of it, until the session is forgotten."""
    clock = Clock(BehaviourMachine(lambda _project_id: rules), seed=seed, habit=habit)
    for delivery in deliveries:
        clock.take(delivery)
    clock.finish(deliveries[-1].now_ms + 2 * HOUR_MS)
    assert clock.state is None
    return clock


@pytest.mark.timeout(3_000)
@settings(max_examples=SCHEDULES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    events=visits,
    seed=st.integers(0, 2**32),
    hold_ms=st.sampled_from((6_000, 6_000, 1_000, 0)),
    way=st.sampled_from(("any", "extreme", "flushed", "drifting")),
    detectors=st.sampled_from((EXCLUDING, EXCLUDING, SIX, TOYS)),
)
def test_every_schedule_gives_the_session_as_a_whole(
    events: list[SessionEvent],
    seed: int,
    hold_ms: int,
    way: str,
    detectors: tuple[Detector[Any], ...],
) -> None:
    """Delays within the hold: rows and insights are those of the reference and of a recount."""
    rules = ToyRules(detectors, hold_ms)
    chance = random.Random(seed)
    deliveries = deliver(events, delays_of(events, rules, chance, way), chance)
    exact = play(deliveries, rules)
    for habit in ("late", "lazy", "eager"):
        other = play(deliveries, rules, seed=seed, habit=habit)
        assert other.outputs == exact.outputs, habit
    assert exact.failure_count == 0
    row, insights = expected([events], rules)
    last = exact.rows[-1]
    assert msgspec.structs.replace(last, revision=0) == row
    assert sorted(exact.insights, key=lambda one: one.insight_id) == insights
    for column, value in recounted(events).items():
        assert getattr(last, column) == value, column
    assert are_consecutive([found.revision for found in exact.rows])
    assert [found.is_closed for found in exact.rows] == [False] * (len(exact.rows) - 1) + [True]


@pytest.mark.timeout(3_000)
@settings(max_examples=SCHEDULES // 2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events=long_visits, seed=st.integers(0, 2**32))
def test_a_session_that_was_closed_and_reopened_adds_up(
    events: list[SessionEvent], seed: int
) -> None:
    """One row of all events; insights are those of its parts, each found once."""
    rules = ToyRules(EXCLUDING)
    chance = random.Random(seed)
    deliveries = deliver(events, [chance.randint(0, 6_000) for _ in events], chance)
    exact = play(deliveries, rules)
    assert play(deliveries, rules, seed=seed, habit="late").outputs == exact.outputs
    parts: list[list[SessionEvent]] = []
    before_ms = None
    known: set[str] = set()
    for delivery in deliveries:
        new = [event for event in delivery.batch.events if event.event_id not in known]
        if not new:
            continue
        if before_ms is None or delivery.now_ms - before_ms > IDLE_MS:
            parts.append([])
        parts[-1].extend(new)
        known.update(event.event_id for event in new)
        before_ms = delivery.now_ms
    row, insights = expected(parts, rules)
    assert msgspec.structs.replace(exact.rows[-1], revision=0) == row
    assert sorted(exact.insights, key=lambda one: one.insight_id) == insights
    assert sum(found.is_closed for found in exact.rows) == len(parts)
