"""Visits as records of the raw topic, for the behaviour flow: many sessions, made fast.

Some hundred batches of `cli.synthetic` are templates; sessions are copies of them with ids and
times of their own. Time is in the data: what is received when does not depend on how fast the
records are made or read.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from benchmarks.bench_machine import BenchMachine
from cli.synthetic import Visitors
from connectors.kafka_log import OutRecord
from connectors.kafka_producer import KafkaRecordProducer
from schemas.identifiers import session_uuid
from schemas.json_batch import batch_from_json
from schemas.topics import EVENTS_RAW
from schemas.v1.events_pb2 import Event
from schemas.v1.pipeline_pb2 import RawBatch

TEMPLATES = 400


class Visits:
    """Batches of sessions that come and go; `events` a batch, within the five seconds before."""

    def __init__(self, project_id: str, events: int = 10, seed: int = 7) -> None:
        self._project_id = project_id
        self._chance = random.Random(seed)
        self._templates = [
            _template(batch)
            for batch, _ in zip(Visitors(seed).batches(events), range(TEMPLATES), strict=False)
        ]

    def new_session(self) -> str:
        """An id that never was."""
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))

    def record(self, session_id: str, received_at_ms: int) -> OutRecord:
        """One batch of a session."""
        raw = RawBatch()
        raw.CopyFrom(self._chance.choice(self._templates))
        raw.project_id, raw.session_id = self._project_id, session_id
        raw.received_at_ms = received_at_ms
        count = len(raw.events)
        step_ms = 5_000 // count
        for place, event in enumerate(raw.events):
            event.event_id = self.new_session()
            event.session_id = session_id
            event.timestamp.millis = received_at_ms - 5_000 + place * step_ms
        key = f"{self._project_id}:{session_uuid(self._project_id, session_id)}".encode()
        header = ("events", str(count).encode())
        return OutRecord(EVENTS_RAW.name, key, raw.SerializeToString(), (header,))

    def batches(
        self, sessions: int, at_once: int, batches_each: int, first_ms: int, step_ms: float
    ) -> Iterator[OutRecord]:
        """`sessions` visits, `at_once` of them live, one batch each `step_ms` of their time."""
        live = [[self.new_session(), batches_each] for _ in range(min(at_once, sessions))]
        left, sent = sessions - len(live), 0
        while live:
            place = self._chance.randrange(len(live))
            visit = live[place]
            yield self.record(str(visit[0]), first_ms + int(sent * step_ms))
            sent += 1
            visit[1] = int(visit[1]) - 1
            if visit[1]:
                continue
            if left:
                live[place] = [self.new_session(), batches_each]
                left -= 1
            else:
                live[place] = live[-1]
                live.pop()


def _template(batch: dict[str, object]) -> RawBatch:
    parsed = batch_from_json(msgspec.json.encode({**batch, "sent_at": 0}))
    messages = [event for event in parsed.events if isinstance(event, Event)]
    return RawBatch(
        events=messages,
        sdk_version="bench",
        client_ip="203.0.113.7",
        user_agent=messages[0].device.user_agent,
        event_count=len(messages),
        retain_days=90,
        scrubber_version=1,
        batch_id="bench",
    )


def produce(machine: BenchMachine, records: Iterator[OutRecord], chunk: int = 5_000) -> int:
    """Write all; return how many."""
    producer = KafkaRecordProducer(machine.urls["KAFKA_BROKERS"])
    count = 0
    waiting: list[OutRecord] = []
    for record in records:
        waiting.append(record)
        if len(waiting) >= chunk:
            producer.produce_all(waiting)
            count += len(waiting)
            waiting = []
    producer.produce_all(waiting)
    return count + len(waiting)


def folder_mb(machine: BenchMachine, topic: str) -> float:
    """What a topic takes on the broker's disk."""
    files = machine.folder.rglob(f"{topic}-*/*.log")
    return sum(file.stat().st_size for file in files) / 1e6


def peak_rss_mb(process: psutil.Process) -> float:
    """The most resident memory that a process had."""
    with Path(f"/proc/{process.pid}/status").open(encoding="ascii") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e3
