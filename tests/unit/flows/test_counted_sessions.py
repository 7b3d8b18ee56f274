"""The figures of sessions: what states and outputs say, counted as it happens."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from prometheus_client import REGISTRY

from flows.core.behaviour import LATENESS_MS, BehaviourMachine
from flows.core.insight import Insight
from flows.counted_sessions import FORGET_S, CountedSessions, HeldEvents
from tests.session_schedules import Clock, deliver, flushed, make_visit
from tests.toy_detectors import SIX, Faulty, ToyRules


def figure(name: str, **labels: str) -> float:
    """A figure of this process as it stands."""
    return REGISTRY.get_sample_value(f"gosight_sessions_{name}", labels) or 0.0


@pytest.mark.parametrize("habit", ["exact", "late"])
def test_figures_say_what_came_out(habit: str) -> None:
    """Revisions, insights and failures; nothing waits at the end."""
    events = make_visit(3, [("burst", 500), ("burst", 4_000), ("view", 20_000), ("click", 900)])
    chance = random.Random(1)
    rules = ToyRules((*SIX, Faulty("on_event")))
    machine = BehaviourMachine(lambda _project_id: rules, previews=True)
    clock = Clock(CountedSessions(machine), habit=habit)  # type: ignore[arg-type]
    names = [("revisions_total", {"state": state}) for state in ("open", "closed")]
    names += [
        ("insights_total", {"type": detector.insight_type, "state": state})
        for detector in SIX
        for state in ("final", "provisional")
    ]
    names.append(("detector_failures_total", {}))
    before = [figure(name, **labels) for name, labels in names]
    deliveries = deliver(events, flushed(events, 5_000, 40), chance)
    held = []
    for delivery in deliveries:
        clock.take(delivery)
        held.append(figure("held_events"))
        assert clock.state is not None
        assert held[-1] == sum(batch.size for batch in clock.state.held)
    clock.finish(deliveries[-1].now_ms + 2 * LATENESS_MS)
    grown = [
        figure(name, **labels) - was for (name, labels), was in zip(names, before, strict=True)
    ]
    told = Counter(
        (output.insight_type, output.is_provisional)
        for output in clock.outputs
        if isinstance(output, Insight)
    )
    wanted = [sum(not row.is_closed for row in clock.rows), 1]
    wanted += [told[one.insight_type, previewed] for one in SIX for previewed in (False, True)]
    assert grown == [*wanted, 1]
    assert sum(told.values()) > 2
    assert max(held) > 5
    assert figure("held_events") == 0


def test_held_events_of_sessions_that_left_are_forgotten() -> None:
    """Nothing more is heard of them, so they must not count for ever."""
    now_s = 0.0
    held = HeldEvents(lambda: now_s)
    held.put("stays", 2)
    held.put("leaves", 3)
    assert held.total() == 5
    now_s = FORGET_S
    assert held.total() == 5
    held.put("stays", 4)
    assert held.total() == 7
    now_s = 2 * FORGET_S
    assert held.total() == 4
    held.put("stays", 0)
    assert held.total() == 0
