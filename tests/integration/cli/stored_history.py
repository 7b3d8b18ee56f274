"""A project whose events are stored in a real ClickHouse, and commands on it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clickhouse_connect.driver.client import Client
from typer.testing import CliRunner

from cli.main import app
from cli.project_store import connect as connect_projects
from cli.project_store import create_project
from connectors.clickhouse import connect, insert_arrow
from flows.core.behaviour import BehaviourMachine, BehaviourOutput, SessionState
from flows.core.detection_rules import rules_of_document
from flows.core.event_rows import RowBuilder
from flows.core.session_event import SessionBatch
from schemas.identifiers import session_uuid
from schemas.v1.pipeline_pb2 import RawBatch
from sql.migrate import migrate_up
from tests.scene_files import read_scene, scene_names
from tests.session_records import find_place, live_batches, parse_agent, polled, raw_values
from tests.stack import RunningStack, fresh_databases

# Old enough that no flow would have these sessions in its hands, and not on a round hour.
NOON_MS = (time.time_ns() // 86_400_000_000_000 - 1) * 86_400_000 + 43_200_000
HOUR_MS = 3_600_000


def at(at_ms: int) -> str:
    """A moment as options take it."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


PERIOD = ("--from", at(NOON_MS - HOUR_MS), "--to", at(NOON_MS + HOUR_MS))


@dataclass(frozen=True)
class Store:
    """A project with stored events, and commands on it."""

    urls: dict[str, str]
    project_id: str
    client: Client

    def put(self, requests: list[dict[str, Any]], *, stored_now: bool = False) -> list[bytes]:
        """Store requests as the storage flow does, mostly at once; returns the raw records."""
        values = []
        for value in raw_values(requests):
            raw = RawBatch.FromString(value)
            raw.project_id = self.project_id
            values.append(raw.SerializeToString())
        chunk = RowBuilder(parse_agent, find_place).build(polled(values))
        assert not chunk.poisons
        table = chunk.table
        if not stored_now:
            table = table.append_column("ingested_at", table["received_at"])
        insert_arrow(self.client, "events", table, f"put-{time.time_ns()}")
        return values

    def run(self, *arguments: str, code: int = 0) -> Any:
        """The JSON of a command."""
        result = CliRunner().invoke(app, [*arguments, "--json"], env=self.urls)
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    def said(self, *arguments: str) -> str:
        """What a command says to a person."""
        result = CliRunner().invoke(app, list(arguments), env={**self.urls, "COLUMNS": "200"})
        assert result.exit_code == 0, result.output
        return result.output

    def id_of(self, session: str) -> str:
        """The stored id of a session."""
        return session_uuid(self.project_id, session)

    def rows(self, columns: str, table: str) -> list[tuple[Any, ...]]:
        """Rows of a table, as read with FINAL, in order."""
        query = f"SELECT {columns} FROM {table} FINAL ORDER BY ALL"
        return [tuple(row) for row in self.client.query(query).result_rows]


@contextmanager
def stored_history(running_stack: RunningStack) -> Iterator[Store]:
    """Migrated databases with one project and no events."""
    with fresh_databases(running_stack) as databases:
        migrate_up(databases.database_url, databases.clickhouse_url)
        with connect_projects(databases.database_url) as connection:
            settings = {"retention": {"sessions": 40, "insights": 50}}
            project = create_project(connection, "Shop", settings=settings)
        client = connect(databases.clickhouse_url)
        yield Store({**databases.urls, "NO_COLOR": "1"}, str(project.id), client)
        client.close()


def clicks(session: str, count: int, every_ms: int = 200, begin_ms: int = NOON_MS) -> Any:
    """A request with so many clicks on one button, each of which the page answers."""
    events: list[dict[str, Any]] = []
    page = {"url": "https://shop.example/cart", "path": "/cart"}
    for number in range(count):
        at_ms = begin_ms + number * every_ms
        click = {
            "position": {"x": 400, "y": 300},
            "button": "left",
            "target": {"tag": "button", "selector": "#apply", "text": "Apply"},
        }
        for kind, payload in (("click", click), ("fetch_request", {"url": "/coupon"})):
            event = {"event_type": kind, "timestamp": at_ms + (kind != "click"), "page": page}
            name = f"{session}-{kind}-{number}"
            events.append({**event, "event_id": name, "session_id": session, "payload": payload})
    last_ms = begin_ms + count * every_ms
    return {"received_at_ms": last_ms, "batch": {"sent_at": last_ms, "events": events}}


def scene_batches(store: Store) -> dict[str, list[SessionBatch]]:
    """All scenes, stored; their batches by session as the stream gives them."""
    found: dict[str, list[SessionBatch]] = {}
    for number, name in enumerate(scene_names()):
        requests = read_scene(name, NOON_MS - number * 1_000)
        for request in requests:
            last_ms = max(event["timestamp"] for event in request["batch"]["events"])
            request["received_at_ms"] = request["batch"]["sent_at"] = last_ms
        for batch in live_batches(store.put(requests)):
            found.setdefault(batch.session_id, []).append(batch)
    return found


def machine_outputs(batches: list[SessionBatch]) -> list[BehaviourOutput]:
    """Rows and insights of one session, from its first event until it is forgotten."""
    machine = BehaviourMachine(lambda _project: rules_of_document({}))
    state: SessionState | None = None
    made: list[BehaviourOutput] = []
    for batch in sorted(batches, key=lambda batch: batch.received_at_ms):
        state, outputs = machine.on_event(state, batch, batch.received_at_ms)
        made += outputs
    while state is not None:
        wake_at_ms = machine.wake_at_ms(state)
        assert wake_at_ms is not None
        state, outputs = machine.on_time(state, wake_at_ms)
        made += outputs
    return made
