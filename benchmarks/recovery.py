"""The behaviour flow killed with many live sessions: how long until it goes on, and its memory.

From SIGKILL, in the middle of load, to the first row that its successor commits; the supervisor's
pause before it starts a process again is not in it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from confluent_kafka import Consumer, TopicPartition

from benchmarks.bench_machine import BenchMachine, bench_machine, free_port, rss_mb
from benchmarks.insights import read_metrics, wait_until_taken
from benchmarks.visits import Visits, folder_mb, peak_rss_mb, produce
from connectors.kafka_producer import KafkaRecordProducer
from schemas.topics import BEHAVIOUR_STATE, SESSIONS

EVENTS_PER_S = 10_000
DAY_MS = 86_400_000


def run(events: int = 500_000, batch_events: int = 5, kills: int = 3) -> dict[str, object]:
    """Figures of some kills, with a live session for each `batch_events` of `events`."""
    sessions = events // batch_events
    with bench_machine() as machine:
        visits = Visits(machine.project_id, batch_events)
        step_ms = batch_events * 1000 / EVENTS_PER_S
        # Ahead of the wall clock: a quiet moment closes nothing.
        first_ms = time.time_ns() // 1_000_000 + DAY_MS
        sent = produce(machine, visits.batches(sessions, 1_000, 1, first_ms, step_ms))
        port = free_port()
        flow = _start(machine, port)
        try:
            _wait_until_up(port)
            wait_until_taken(port, sent * batch_events)
            found = read_metrics(port)
            memory = {"rss_mb": rss_mb(flow), "rss_peak_mb": peak_rss_mb(flow)}
            load = _Load(machine, visits, first_ms + int(sent * step_ms))
            load.start()
            seconds, restores = [], []
            for _ in range(kills):
                time.sleep(3.0)
                tail = _Tail(machine.urls["KAFKA_BROKERS"])
                flow.kill()
                killed = time.perf_counter()
                flow.wait()
                flow = _start(machine, port)
                tail.wait_for_row()
                seconds.append(round(time.perf_counter() - killed, 2))
                tail.close()
                restores.append(round(read_metrics(port)[RESTORE_SUM], 2))
            load.stopping.set()
            load.join()
            after = rss_mb(flow)
        finally:
            flow.kill()
            flow.wait()
        return {
            "benchmark": "recovery",
            "sessions_live": int(found["gosight_flow_keys_live"]),
            "state_bytes_per_session": round(
                found["gosight_flow_state_bytes"] / max(1, found["gosight_flow_keys_live"])
            ),
            "state_topic_mb": round(folder_mb(machine, BEHAVIOUR_STATE.name), 1),
            "seconds": seconds,
            "restore_seconds": restores,
            **{name: round(size, 1) for name, size in memory.items()},
            "rss_mb_after_restart": round(after, 1),
        }


RESTORE_SUM = "gosight_flow_restore_duration_seconds_sum"


def _start(machine: BenchMachine, port: int) -> psutil.Popen:
    log_path = machine.folder / "behaviour.log"
    environ = {"METRICS_PORT": str(port), "METRICS_HOST": "127.0.0.1"}
    environ["CLOCK_AHEAD_SECONDS_MAX"] = str(DAY_MS)  # Visits are a day ahead.
    with log_path.open("ab") as log:
        return psutil.Popen(
            [sys.executable, "-m", "flows", "behaviour"],
            env={**os.environ, **machine.urls, **environ},
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).resolve().parents[1],
        )


def _wait_until_up(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            read_metrics(port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


class _Load(threading.Thread):
    """New sessions, slowly, as long as it is not told to stop."""

    def __init__(self, machine: BenchMachine, visits: Visits, first_ms: int) -> None:
        super().__init__(daemon=True)
        self._producer = KafkaRecordProducer(machine.urls["KAFKA_BROKERS"])
        self._visits = visits
        self._at_ms = first_ms
        self.stopping = threading.Event()

    def run(self) -> None:
        """A hundred batches a second."""
        while not self.stopping.wait(0.1):
            self._at_ms += 100
            records = [
                self._visits.record(self._visits.new_session(), self._at_ms) for _ in range(10)
            ]
            self._producer.produce_all(records)


class _Tail:
    """Waits for a row that is committed after its making."""

    def __init__(self, brokers: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": "benchmark-tail",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "log_level": 2,
            }
        )
        self._consumer.assign(self._ends())

    def _ends(self) -> Sequence[TopicPartition]:
        parts = [TopicPartition(SESSIONS.name, number) for number in range(SESSIONS.partitions)]
        return [
            TopicPartition(p.topic, p.partition, self._consumer.get_watermark_offsets(p)[1])
            for p in parts
        ]

    def wait_for_row(self, timeout_s: float = 60) -> None:
        """Return at the first row that is new."""
        # What was committed between the making and the kill is not the successor's.
        self._consumer.consume(1_000_000, timeout=0.3)
        deadline = time.monotonic() + timeout_s
        while not self._consumer.consume(1, timeout=0.05):
            if time.monotonic() > deadline:
                raise RuntimeError("the killed flow does not go on")

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()
