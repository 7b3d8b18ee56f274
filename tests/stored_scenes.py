"""All recorded scenes in a ClickHouse, as the flows store them, around midnights of two zones.

In: a client of a migrated database and a project. Out: `StoredScenes`: the rows as they were
written, from which a test counts again, in plain Python, what the API says.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from clickhouse_connect.driver.client import Client

from connectors.clickhouse import insert_arrow
from flows.core.behaviour import BehaviourMachine, SessionState
from flows.core.detection_rules import rules_of_document
from flows.core.event_rows import RowBuilder
from flows.core.insight import Insight
from flows.core.result_columns import insight_table, session_table
from flows.core.session_event import SessionBatch
from flows.core.session_row import SessionRow
from schemas.v1.pipeline_pb2 import RawBatch
from tests.scene_files import read_scene, scene_names
from tests.session_records import find_place, live_batches, parse_agent, polled, raw_values

ZONES = ("Asia/Ho_Chi_Minh", "America/New_York")
STEP_MS = 20_000

Event = Mapping[str, Any]


@dataclass(frozen=True)
class StoredScenes:
    """Rows by table: each event and session once, as last revised."""

    project_id: str
    events: list[dict[str, Any]]
    sessions: list[SessionRow]
    insights: list[Insight]
    midnights_ms: tuple[int, ...]  # That scenes lie around, oldest first.

    @property
    def first_day(self) -> str:
        """A date before everything, in any zone."""
        return _day(self.midnights_ms[0] - 2 * 86_400_000)

    @property
    def last_day(self) -> str:
        """A date after everything, in any zone."""
        return _day(self.midnights_ms[-1] + 2 * 86_400_000)


def store_scenes(client: Client, project_id: str) -> StoredScenes:
    """Write events, sessions and insights of all scenes."""
    midnights = _midnights_ms()
    values: list[bytes] = []
    for number, name in enumerate(scene_names()):
        midnight_ms = midnights[number % len(midnights)]
        requests = read_scene(name, midnight_ms + (number // len(midnights) - 5) * STEP_MS)
        for request in requests:
            last_ms = max(event["timestamp"] for event in request["batch"]["events"])
            request["received_at_ms"] = request["batch"]["sent_at"] = last_ms
        values += (_of_project(value, project_id) for value in raw_values(requests))
    chunk = RowBuilder(parse_agent, find_place).build(polled(values))
    assert not chunk.poisons
    # A few events were sent twice: as the storage flow, only the first one is written.
    table = chunk.table
    first = {event_id: row for row, event_id in reversed(list(enumerate(chunk.event_ids)))}
    table = table.take(sorted(first.values()))
    insert_arrow(client, "events", table, f"scenes-{time.time_ns()}")
    by_session: dict[str, list[SessionBatch]] = {}
    for batch in live_batches(values):
        by_session.setdefault(batch.session_id, []).append(batch)
    rows: dict[str, SessionRow] = {}
    insights: list[Insight] = []
    for batches in by_session.values():
        for output in _outputs(batches):
            if isinstance(output, SessionRow):
                rows[output.session_id] = output
            elif not output.is_provisional:
                insights.append(output)
    insert_arrow(client, "sessions", session_table(list(rows.values())), f"rows-{project_id}")
    insert_arrow(client, "insights", insight_table(insights), f"found-{project_id}")
    return StoredScenes(project_id, table.to_pylist(), list(rows.values()), insights, midnights)


def _midnights_ms() -> tuple[int, ...]:
    """Two midnights of each zone, some days ago."""
    today = datetime.now(UTC).date()
    found = [
        datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp() * 1000
        for zone in ZONES
        for day in (today - timedelta(days=4), today - timedelta(days=2))
    ]
    return tuple(sorted(map(round, found)))


def _of_project(value: bytes, project_id: str) -> bytes:
    raw = RawBatch.FromString(value)
    raw.project_id = project_id
    return raw.SerializeToString()


def _outputs(batches: list[SessionBatch]) -> Iterator[SessionRow | Insight]:
    """Rows and insights of one session, from its first event until it is forgotten."""
    machine = BehaviourMachine(lambda _project: rules_of_document({}))
    state: SessionState | None = None
    for batch in sorted(batches, key=lambda batch: batch.received_at_ms):
        state, outputs = machine.on_event(state, batch, batch.received_at_ms)
        yield from outputs
    while state is not None:
        wake_at_ms = machine.wake_at_ms(state)
        assert wake_at_ms is not None
        state, outputs = machine.on_time(state, wake_at_ms)
        yield from outputs


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
