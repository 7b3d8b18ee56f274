"""Visits as records of the raw topic, what must come of them, and what did, for the behaviour flow.

Time is in the data, days ahead of the wall clock: a quiet moment of the flow closes nothing.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

from connectors.kafka_log import OutRecord
from connectors.kafka_producer import KafkaRecordProducer
from connectors.lookups import load_agent_parser, load_place_reader
from flows.core.detection_rules import rules_of_document
from flows.core.experience import InsightCounts
from flows.core.insight import Finding, Insight, insight_of
from flows.core.session_batches import BatchReader
from flows.core.session_event import SessionBatch, SessionEvent
from flows.core.session_row import SessionRow, insight_of_message, row_of_message
from flows.core.session_run import in_order, run_session
from flows.core.sessionizer import add_batch, session_row
from schemas.topics import EVENTS_RAW, INSIGHTS, SESSIONS
from schemas.v1.events_pb2 import Event, EventType
from schemas.v1.pipeline_pb2 import Insight as InsightMessage
from schemas.v1.pipeline_pb2 import SessionRevision
from tests.factories import make_event, make_raw, make_uuid, raw_record
from tests.session_schedules import are_consecutive

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
VISITS_MS = 240_000
FLUSH_MS = 3_000  # With all delays below, events stay within the detectors' hold of 6 s.
CLICK = EventType.EVENT_TYPE_CLICK
VIEW = EventType.EVENT_TYPE_PAGE_VIEW
ERROR = EventType.EVENT_TYPE_JS_ERROR
READER = BatchReader(load_agent_parser(), load_place_reader(None))


def visit(session_id: str, from_ms: int, chance: random.Random) -> list[Event]:
    """Pages, clicks, bursts of clicks, errors: an angry and a calm part."""
    events: list[Event] = []
    at_ms = from_ms
    for _ in range(chance.randint(3, 9)):
        path = f"/p/{chance.randrange(4)}"
        events.append(make_event(make_uuid(chance), session_id, at_ms=at_ms, path=path))
        at_ms += chance.randint(200, 9_000)
        for _ in range(chance.choice((0, 1, 2, 7))):
            click = make_event(make_uuid(chance), session_id, at_ms=at_ms, path=path, kind=CLICK)
            click.click.position.x = 10 + chance.randrange(8)
            events.append(click)
            at_ms += chance.randint(60, 600)
        if chance.random() < 0.3:
            error = make_event(make_uuid(chance), session_id, at_ms=at_ms, path=path, kind=ERROR)
            error.js_error.message = "x is undefined"
            events.append(error)
        at_ms += chance.randint(500, 12_000)
    return events


def flushes(events: Sequence[Event]) -> list[list[Event]]:
    """As a browser sends them: what happened within some seconds of the first that waits."""
    made: list[list[Event]] = []
    for event in events:
        if made and event.timestamp.millis - made[-1][0].timestamp.millis <= FLUSH_MS:
            made[-1].append(event)
        else:
            made.append([event])
    return made


class Visits:
    """Records of many sessions, each event twice, a little out of order."""

    def __init__(
        self, project_id: str, sessions: int, first_ms: int, chance: random.Random
    ) -> None:
        self.project_id = project_id
        self._first_ms = first_ms
        self._chance = chance
        self.session_ids = [make_uuid(chance) for _ in range(sessions)]
        dated: list[tuple[int, OutRecord]] = []
        for session_id in self.session_ids:
            events = visit(session_id, first_ms + chance.randrange(VISITS_MS), chance)
            for flush in flushes(events):
                dated.append(self._sent(session_id, flush, 0, 1_500))
            # What is sent again comes later, in other batches.
            for start in range(0, len(events), 7):
                dated.append(self._sent(session_id, events[start : start + 7], 1_500, 4_000))
        dated.sort(key=lambda entry: entry[0])
        self.records = [record for _, record in dated]

    def _sent(
        self, session_id: str, events: Sequence[Event], least_ms: int, most_ms: int
    ) -> tuple[int, OutRecord]:
        """A batch, and when it is appended: up to half a second off its receipt."""
        chance = self._chance
        shuffled = list(events)
        chance.shuffle(shuffled)
        received_ms = max(e.timestamp.millis for e in events) + chance.randint(least_ms, most_ms)
        raw = make_raw(shuffled, session_id, project_id=self.project_id, received_at_ms=received_ms)
        return received_ms + chance.randint(-500, 500), raw_record(raw)

    def close_all(self, brokers: str) -> None:
        """A record in each partition, so late that all sessions are over and forgotten."""
        producer = Producer({"bootstrap.servers": brokers, "acks": "all"})
        for number in range(EVENTS_RAW.partitions):
            session_id = make_uuid(self._chance)
            at_ms = self._first_ms + VISITS_MS + 3 * HOUR_MS
            event = make_event(make_uuid(self._chance), session_id, at_ms=at_ms)
            raw = make_raw([event], session_id, project_id=self.project_id, received_at_ms=at_ms)
            record = raw_record(raw)
            producer.produce(record.topic, record.value, record.key, partition=number)
        assert producer.flush(30) == 0

    def expected(self) -> tuple[dict[str, SessionRow], dict[str, Insight]]:
        """Rows by session and insights by id: each session seen as a whole by the reference."""
        detectors = rules_of_document({}).detectors()
        batches: dict[str, list[SessionBatch]] = defaultdict(list)
        for record in self.records:
            batch = READER.read_record(record.value)
            batches[batch.session_id].append(batch)
        rows: dict[str, SessionRow] = {}
        insights: dict[str, Insight] = {}
        for session_id, own in batches.items():
            events: list[SessionEvent] = in_order(e for batch in own for e in batch.events)
            found = InsightCounts()
            for made in run_session(detectors, events):
                assert isinstance(made, Finding)
                insight = insight_of(made, self.project_id, session_id)
                insights[insight.insight_id] = insight
                found = found.adding(
                    made.insight_type, insight.insight_id, made.at_ms, made.anchor_event_id
                )
            rows[session_id] = session_row(
                add_batch(None, own[0], events),
                found,
                revision=0,
                is_closed=True,
                retain_days=90,
            )
        return rows, insights


class Load(threading.Thread):
    """Sends records a little at a time, a round whenever told to go on."""

    def __init__(self, brokers: str, records: Sequence[OutRecord], rounds: int) -> None:
        super().__init__(daemon=True)
        self._producer = KafkaRecordProducer(brokers)
        size = -(-len(records) // rounds)
        self._rounds = [records[at : at + size] for at in range(0, len(records), size)]
        self.go_on = threading.Semaphore(0)

    def run(self) -> None:
        """In order."""
        for records in self._rounds:
            self.go_on.acquire()
            for start in range(0, len(records), 40):
                self._producer.produce_all(records[start : start + 40])
                time.sleep(0.03)


class Results:
    """Everything committed to the two topics for a project, in the order of the log."""

    def __init__(self, brokers: str, project_id: str) -> None:
        self._project_id = project_id
        self.rows: list[SessionRow] = []
        self.insights: list[Insight] = []
        self._consumer = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": "results-of-a-test",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "log_level": 2,
            }
        )
        self._consumer.assign(
            [
                TopicPartition(t.name, n, 0)
                for t in (SESSIONS, INSIGHTS)
                for n in range(t.partitions)
            ]
        )

    def read(self, seconds: float = 0.3) -> int:
        """Read what has come; return how many rows there are."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for message in self._consumer.consume(1_000, timeout=0.1):
                assert message.error() is None, message.error()
                value = message.value() or b""
                if message.topic() == SESSIONS.name:
                    row = row_of_message(SessionRevision.FromString(value))
                    if row.project_id == self._project_id:
                        self.rows.append(row)
                else:
                    insight = insight_of_message(InsightMessage.FromString(value))
                    if insight.project_id == self._project_id:
                        self.insights.append(insight)
        return len(self.rows)

    def read_until_rows(self, count: int, timeout_s: float = 90) -> None:
        """Until there are so many rows."""
        deadline = time.monotonic() + timeout_s
        while self.read() < count:
            assert time.monotonic() < deadline, f"{len(self.rows)} of {count} rows"

    def read_until_closed(self, session_ids: Sequence[str], timeout_s: float = 120) -> None:
        """Until all sessions are closed."""
        deadline = time.monotonic() + timeout_s
        wanted = set(session_ids)
        while not wanted <= {row.session_id for row in self.rows if row.is_closed}:
            self.read()
            assert time.monotonic() < deadline, len(wanted)
        self.read(1.0)

    def close(self) -> None:
        """Read no more."""
        self._consumer.close()

    def check(self, visits: Visits) -> None:
        """The reference's rows and insights, each revision and each insight once."""
        rows, insights = visits.expected()
        by_session: dict[str, list[SessionRow]] = defaultdict(list)
        for row in self.rows:
            by_session[row.session_id].append(row)
        for session_id, wanted in rows.items():
            own = by_session[session_id]
            assert are_consecutive([row.revision for row in own])
            assert [row.is_closed for row in own].count(True) == 1
            found = differences(msgspec.structs.replace(own[-1], revision=0), wanted)
            assert not found, found
        ours = [one for one in self.insights if one.session_id in rows]
        final = [one for one in ours if not one.is_provisional]
        assert len(final) == len({one.insight_id for one in final})
        assert {one.insight_id: one for one in final} == insights
        previews = [one.insight_id for one in ours if one.is_provisional]
        assert len(previews) == len(set(previews))
        assert previews
        assert len(insights) > 50


def differences(found: SessionRow, wanted: SessionRow) -> dict[str, tuple[object, object]]:
    """Columns that differ: what is there, and what should be."""
    left, right = msgspec.structs.asdict(found), msgspec.structs.asdict(wanted)
    return {name: (left[name], right[name]) for name in left if left[name] != right[name]}


class BehaviourProcess:
    """The flow, or another one, as a process of its own."""

    def __init__(
        self, urls: Mapping[str, str], log_path: Path, *, flow: str = "behaviour", **changes: str
    ) -> None:
        self.log_path = log_path
        self._flow = flow
        self._environ = {
            **os.environ,
            **urls,
            "METRICS_PORT": "0",
            "METRICS_HOST": "127.0.0.1",
            "POLL_RECORDS": "20",
            "CLOCK_AHEAD_SECONDS_MAX": "10000000",
            "RUST_BACKTRACE": "0",
            **changes,
        }
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "flows", self._flow],
                env=self._environ,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def kill_and_start_again(self) -> None:
        """SIGKILL, then a new process."""
        self.kill()
        self.process = self._start()

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def log(self) -> str:
        """What it said."""
        return self.log_path.read_text()
