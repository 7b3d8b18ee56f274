"""Everything sent twice, in other batches and another order: stored once, and all views agree."""

from __future__ import annotations

import asyncio
import json
import random
import time
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import OwnProject, RunningMachine
from tests.integration.sql import test_sql_views as views
from tests.scene_files import read_scene, scene_names, whole_events

RECOUNTS = (
    views.test_events_hourly,
    views.test_page_performance,
    views.test_click_heatmap,
    views.test_element_clicks,
    views.test_scroll_depth,
    views.test_page_time,
)


@pytest.fixture(scope="module")
def twice(machine: RunningMachine) -> tuple[OwnProject, dict[str, dict[str, Any]]]:
    """All scenes sent as recorded, then all their events again, shuffled into other batches."""
    project = machine.project("twice")
    events = asyncio.run(_send_twice(machine, project))
    deadline = time.monotonic() + 60
    while True:
        outcomes = _ledger(machine, project)
        if outcomes.get("received", 0) >= 2 * len(events):
            return project, events
        assert time.monotonic() < deadline, outcomes
        time.sleep(0.3)


async def _send_twice(machine: RunningMachine, project: OwnProject) -> dict[str, dict[str, Any]]:
    chance = random.Random(5)
    events: dict[str, dict[str, Any]] = {}
    async with aiohttp.ClientSession(headers={"X-GoSight-Key": project.write_key}) as session:
        ends_at_ms = int(time.time() * 1000)
        for name in scene_names():
            for request in read_scene(name, ends_at_ms=ends_at_ms):
                await _post(session, machine, request["batch"])
                events.update({event["event_id"]: event for event in whole_events(request)})
        again = list(events.values())
        chance.shuffle(again)
        while again:
            size = chance.randint(1, 40)
            await _post(session, machine, {"events": again[:size]})
            del again[:size]
    return events


async def _post(
    session: aiohttp.ClientSession, machine: RunningMachine, batch: dict[str, Any]
) -> None:
    body = {key: value for key, value in batch.items() if key != "project_key"}
    body["sent_at"] = int(time.time() * 1000)
    async with session.post(
        machine.addresses.gateway + "/v1/events",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    ) as answer:
        content = await answer.json()
        assert (answer.status, content["events_accepted"]) == (202, len(body["events"]))


def _ledger(machine: RunningMachine, project: OwnProject) -> dict[str, int]:
    rows = machine.client.query(
        "SELECT outcome, sum(events) FROM ledger_minutes "
        "WHERE project_id = {project:String} GROUP BY outcome",
        parameters={"project": project.project_id},
    ).result_rows
    return {outcome: int(events) for outcome, events in rows}


def test_each_event_is_stored_once(
    machine: RunningMachine, twice: tuple[OwnProject, dict[str, dict[str, Any]]]
) -> None:
    """One row per event id, and the ledger says what became of the rest."""
    project, events = twice
    count, distinct = machine.client.query(
        "SELECT count(), uniqExact(event_id) FROM events WHERE project_id = {project:String}",
        parameters={"project": project.project_id},
    ).result_rows[0]
    assert (count, distinct) == (len(events), len(events))
    outcomes = _ledger(machine, project)
    assert outcomes["stored"] == len(events)
    assert outcomes["received"] == outcomes["stored"] + outcomes["duplicate"]


@pytest.mark.usefixtures("twice")
def test_views_equal_a_recount_of_the_raw_rows(machine: RunningMachine) -> None:
    """Hours, performance, heat map, elements, scroll depth and time on page, of all projects.

    The view of days of sessions reads another table; its recount is with the other SQL tests.
    """
    result = machine.client.query("SELECT * FROM events")
    rows = list(result.named_results())
    assert len(rows) > 2_000
    for recount in RECOUNTS:
        recount(machine.client, SimpleNamespace(rows=rows))
