"""Recorded browser sessions through the machine as they came, against the reference."""

from __future__ import annotations

from collections import defaultdict
from operator import attrgetter

import pytest

from flows.core.behaviour import BehaviourMachine
from flows.core.detection_rules import rules_of_document
from flows.core.insight import Finding, insight_of
from flows.core.session_event import SessionBatch
from flows.core.session_run import run_session
from tests.scene_files import MORE_SCENES, scene_names
from tests.session_records import live_batches, scene_values
from tests.session_schedules import Clock, Delivery

HOUR_MS = 3_600_000

_by_id = attrgetter("insight_id")


@pytest.mark.parametrize("name", [*scene_names(), *scene_names(MORE_SCENES)])
def test_a_scene_as_it_came_gives_what_its_sessions_give_as_a_whole(name: str) -> None:
    """Insights of each session are those of the reference, though its events came bit by bit."""
    rules = rules_of_document({})
    machine = BehaviourMachine(lambda _project_id: rules)
    sessions: defaultdict[str, list[SessionBatch]] = defaultdict(list)
    for batch in live_batches(scene_values(name)):
        sessions[batch.key].append(batch)
    for batches in sessions.values():
        clock = Clock(machine, seed=1, habit="late")
        batches.sort(key=lambda batch: batch.received_at_ms)
        for batch in batches:
            clock.take(Delivery(batch, batch.received_at_ms))
        clock.finish(batches[-1].received_at_ms + 2 * HOUR_MS)
        events = [event for batch in batches for event in batch.events]
        expected = [
            insight_of(finding, batches[0].project_id, batches[0].session_id)
            for finding in run_session(rules.detectors(), events)
            if isinstance(finding, Finding)
        ]
        assert sorted(clock.insights, key=_by_id) == sorted(expected, key=_by_id)
        assert clock.rows[-1].is_closed
