"""Storage as 1, 4, 2 and 1 processes over one topic, under load: nothing lost, nothing doubled."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.clickhouse import connect
from connectors.kafka_log import OutRecord
from connectors.kafka_producer import KafkaRecordProducer
from schemas.reasons import Outcome
from schemas.v1.events_pb2 import Event, EventType
from sql.migrate import migrate_up
from tests.factories import make_event, make_raw, make_uuid, raw_record
from tests.integration.flows.test_storage_restart import (
    FlowProcess,
    check_rows,
    check_views,
    ledger,
    wait_until_stored,
)
from tests.stack import RunningStack, fresh_databases

EVENTS = 12_000
SESSIONS = 400


@pytest.fixture
def databases(running_stack: RunningStack) -> Iterator[RunningStack]:
    """Empty databases with the schema."""
    with fresh_databases(running_stack) as stack:
        migrate_up(stack.database_url, stack.clickhouse_url)
        yield stack


class Load(threading.Thread):
    """Every event sent twice, in other batches, a little at a time while processes change."""

    def __init__(self, brokers: str, project_id: str, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.events: dict[str, Event] = {}
        self._producer = KafkaRecordProducer(brokers)
        self.go_on = threading.Semaphore(0)
        self._rounds = self._make(project_id, chance)

    def _make(self, project_id: str, chance: random.Random) -> list[list[OutRecord]]:
        now_ms = int(time.time() * 1000)
        by_session: dict[str, list[Event]] = {make_uuid(chance): [] for _ in range(SESSIONS)}
        for _ in range(EVENTS):
            session = chance.choice(list(by_session))
            event = make_event(
                make_uuid(chance),
                session,
                at_ms=now_ms - chance.randrange(86_400_000),
                path=f"/p/{chance.randrange(20)}",
                kind=chance.choice((EventType.EVENT_TYPE_PAGE_VIEW, EventType.EVENT_TYPE_CLICK)),
            )
            self.events[event.event_id] = event
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
        return [records[start::8] for start in range(8)]

    def run(self) -> None:
        """Send a round whenever told to go on."""
        for records in self._rounds:
            self.go_on.acquire()
            for start in range(0, len(records), 50):
                self._producer.produce_all(records[start : start + 50])
                time.sleep(0.05)  # A load of some seconds, not one batch.


@pytest.mark.parametrize("is_killed", [False, True], ids=["sigterm", "sigkill"])
def test_one_to_four_to_two_to_one_process(
    databases: RunningStack, tmp_path: Path, is_killed: bool
) -> None:
    """Rows, views and ledger are exact over every change, with no setting but the count."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    project_id = str(uuid.uuid4())
    client = connect(databases.clickhouse_url)
    load = Load(databases.kafka_brokers, project_id, chance)
    load.start()
    started: list[FlowProcess] = []

    def start(count: int) -> list[FlowProcess]:
        made = [
            FlowProcess(databases, f"test-{project_id}", tmp_path / f"{len(started) + n}.log")
            for n in range(count)
        ]
        started.extend(made)
        return made

    def stop(flow: FlowProcess) -> None:
        if is_killed:
            flow.process.kill()
            flow.process.wait()
        else:
            assert flow.stop() == 0

    running = start(1)
    try:
        for wanted in (4, 2, 1):
            load.go_on.release(2)
            booked = ledger(client, project_id).get(Outcome.RECEIVED, 0)
            wait_until_stored(client, project_id, booked + 500)
            if wanted > len(running):
                running += start(wanted - len(running))
                wait_until_all_hold(tmp_path, len(started))
            while len(running) > wanted:
                stop(running.pop(chance.randrange(len(running))))
        load.go_on.release(2)
        load.join(60)
        wait_until_stored(client, project_id, 2 * EVENTS)
        for flow in running:
            assert flow.stop() == 0
    finally:
        for flow in started:
            flow.process.kill()
    check_rows(client, project_id, load.events)
    assert ledger(client, project_id) == {
        Outcome.RECEIVED: 2 * EVENTS,
        Outcome.STORED: EVENTS,
        Outcome.DUPLICATE: EVENTS,
    }
    check_views(client, project_id, load.events)


def wait_until_all_hold(logs: Path, count: int, timeout_s: float = 60) -> None:
    """Until each process has taken partitions."""
    deadline = time.monotonic() + timeout_s
    while sum("partition_taken" in (logs / f"{n}.log").read_text() for n in range(count)) < count:
        assert time.monotonic() < deadline, [
            (logs / f"{n}.log").read_text()[-500:] for n in range(count)
        ]
        time.sleep(0.1)
