"""The storage flow as a real process on real servers, killed in the middle."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from connectors.clickhouse import connect
from connectors.kafka_producer import KafkaRecordProducer
from schemas.reasons import Outcome
from schemas.v1.events_pb2 import Event, EventType
from sql.migrate import migrate_up
from tests.factories import make_event, make_raw, make_uuid, raw_record
from tests.stack import RunningStack, fresh_databases

EVENTS = 6_000


@pytest.fixture
def databases(running_stack: RunningStack) -> Iterator[RunningStack]:
    """Empty databases with the schema."""
    with fresh_databases(running_stack) as stack:
        migrate_up(stack.database_url, stack.clickhouse_url)
        yield stack


class FlowProcess:
    """`python -m flows storage` with its own consumer group."""

    def __init__(self, stack: RunningStack, group: str, log_path: Path) -> None:
        self._environ = {
            **os.environ,
            **stack.urls,
            "CONSUMER_GROUP": group,
            "METRICS_PORT": "0",
            "METRICS_HOST": "127.0.0.1",
            "BATCH_SECONDS": "0.2",
            "BATCH_ROWS": "500",
            "POLL_RECORDS": "20",
            "RUST_BACKTRACE": "0",
        }
        self._log_path = log_path
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log_path.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "flows", "storage"],
                env=self._environ,
                stdout=log,
                stderr=log,
            )

    def kill_and_start_again(self) -> None:
        """SIGKILL, then a new process."""
        self.process.kill()
        self.process.wait()
        self.process = self._start()

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


def wait_until_stored(client: Client, project_id: str, events: int, timeout_s: float = 90) -> None:
    """Until the ledger has booked `events` as received for the project."""
    deadline = time.monotonic() + timeout_s
    booked = 0
    while time.monotonic() < deadline:
        booked = ledger(client, project_id).get(Outcome.RECEIVED, 0)
        if booked >= events:
            return
        time.sleep(0.2)
    raise AssertionError(f"{booked} of {events} events booked in {timeout_s} s")


def ledger(client: Client, project_id: str) -> dict[str, int]:
    """Events by outcome."""
    rows = client.query(
        "SELECT outcome, sum(events) FROM ledger_minutes "
        "WHERE project_id = {project:String} GROUP BY outcome",
        parameters={"project": project_id},
    ).result_rows
    return {outcome: int(events) for outcome, events in rows}


def send(stack: RunningStack, project_id: str, chance: random.Random) -> dict[str, Event]:
    """Put events on the topic, every one of them twice: in other batches, in another order."""
    sessions = [make_uuid(chance) for _ in range(300)]
    kinds = (EventType.EVENT_TYPE_PAGE_VIEW, EventType.EVENT_TYPE_CLICK)
    now_ms = int(time.time() * 1000)
    events: dict[str, Event] = {}
    by_session: dict[str, list[Event]] = {session: [] for session in sessions}
    for _ in range(EVENTS):
        session = chance.choice(sessions)
        event = make_event(
            make_uuid(chance),
            session,
            at_ms=now_ms - chance.randrange(86_400_000),
            path=f"/p/{chance.randrange(20)}",
            kind=chance.choice(kinds),
        )
        events[event.event_id] = event
        by_session[session].append(event)
    records = []
    for size in (10, 7):
        for session, own in by_session.items():
            chance.shuffle(own)
            for start in range(0, len(own), size):
                raw = make_raw(
                    own[start : start + size],
                    session,
                    project_id=project_id,
                    received_at_ms=now_ms + chance.randrange(120_000),
                )
                records.append(raw_record(raw))
        chance.shuffle(records)
    KafkaRecordProducer(stack.kafka_brokers).produce_all(records)
    return events


def test_sigkill_in_the_middle_changes_nothing(databases: RunningStack, tmp_path: Path) -> None:
    """Killed three times while writing: every event once, every view equal to its recount."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    project_id = str(uuid.uuid4())
    events = send(databases, project_id, chance)
    client = connect(databases.clickhouse_url)
    flow = FlowProcess(databases, f"test-{project_id}", tmp_path / "flow.log")
    try:
        for part in (0.1, 0.4, 0.8):
            wait_until_stored(client, project_id, int(2 * EVENTS * part))
            flow.kill_and_start_again()
        wait_until_stored(client, project_id, 2 * EVENTS)
        assert flow.stop() == 0
    finally:
        flow.process.kill()
    check_rows(client, project_id, events)
    assert ledger(client, project_id) == {
        Outcome.RECEIVED: 2 * EVENTS,
        Outcome.STORED: EVENTS,
        Outcome.DUPLICATE: EVENTS,
    }
    check_views(client, project_id, events)


def check_rows(client: Client, project_id: str, events: dict[str, Event]) -> None:
    """Every event is one row, with what was sent; before any merge could hide a second one."""
    where = {"parameters": {"project": project_id}}
    rows = client.query(
        "SELECT toString(event_id), event_type, path, toString(session_id), "
        "toUnixTimestamp64Milli(timestamp) FROM events WHERE project_id = {project:String}",
        **where,
    ).result_rows
    assert len(rows) == len(events)
    assert {row[0] for row in rows} == set(events)
    for event_id, _kind, path, session_id, at_ms in rows:
        event = events[event_id]
        assert (event.page.path, event.session_id, event.timestamp.millis) == (
            path,
            session_id,
            at_ms,
        )


def check_views(client: Client, project_id: str, events: dict[str, Event]) -> None:
    """Hours and elements as the views have them, against a count of what was sent."""
    where = {"parameters": {"project": project_id}}
    hours: dict[tuple[int, str, str], int] = {}
    sessions: dict[tuple[int, str, str], set[str]] = {}
    clicks: dict[str, int] = {}
    for event in events.values():
        is_click = event.event_type == EventType.EVENT_TYPE_CLICK
        key = (
            event.timestamp.millis // 3_600_000 * 3_600,
            "click" if is_click else "page_view",
            event.page.path,
        )
        hours[key] = hours.get(key, 0) + 1
        sessions.setdefault(key, set()).add(event.session_id)
        if is_click:
            clicks[event.page.path] = clicks.get(event.page.path, 0) + 1
    found = client.query(
        "SELECT toUnixTimestamp(hour), event_type, path, sum(event_count), "
        "uniqMerge(session_count) FROM events_hourly_mv "
        "WHERE project_id = {project:String} GROUP BY hour, event_type, path",
        **where,
    ).result_rows
    assert {(h, kind, path): count for h, kind, path, count, _ in found} == hours
    assert all(distinct == len(sessions[h, kind, path]) for h, kind, path, _, distinct in found)
    for view, column in (("element_clicks_mv", "click_count"), ("click_heatmap_mv", "click_count")):
        counted = client.query(
            f"SELECT path, sum({column}) FROM {view} "
            "WHERE project_id = {project:String} GROUP BY path",
            **where,
        ).result_rows
        assert dict(counted) == clicks, view
