"""The real servers for one benchmark, in a temporary folder, and the CPU time of processes.

CPU time is what to compare: the load generator, Kafka and ClickHouse share the machine's cores, so
wall-clock rates are a floor.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from confluent_kafka import Consumer, TopicPartition

from cli.project_store import connect, create_key, create_project
from connectors.kafka_admin import ensure_topics
from schemas.records import CATEGORY_DEFAULTS
from schemas.topics import Topic
from sql.migrate import migrate_up
from standalone.ports import choose_port
from standalone.stack import Stack


@dataclass(frozen=True)
class BenchMachine:
    """Running servers with a project whose key is practically unlimited."""

    urls: Mapping[str, str]
    project_id: str
    write_key: str
    folder: Path


@contextmanager
def bench_machine() -> Iterator[BenchMachine]:
    """Servers, schema, topics and a project; all of it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="gosight-bench-") as name:
        folder = Path(name)
        stack = Stack(folder, ports={})
        try:
            urls = stack.start()
            migrate_up(urls["DATABASE_URL"], urls["CLICKHOUSE_URL"])
            ensure_topics(urls["KAFKA_BROKERS"])
            settings = {"events": dict.fromkeys(CATEGORY_DEFAULTS, True)}
            with connect(urls["DATABASE_URL"]) as connection:
                project = create_project(connection, "benchmark", settings=settings)
                key, _row = create_key(
                    connection,
                    project.id,
                    name="benchmark",
                    permission="write",
                    rate_limit=1_000_000,
                    burst=1_000_000,
                )
            yield BenchMachine(urls, str(project.id), key, folder)
        finally:
            stack.stop()


@contextmanager
def own_process(
    machine: BenchMachine, name: str, argv: list[str], ready_port: int, **environ: str
) -> Iterator[psutil.Process]:
    """One of our processes, ready; stopped by SIGTERM afterwards."""
    log_path = machine.folder / f"{name}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *argv],
            env={**os.environ, **machine.urls, **environ},
            stdout=log,
            stderr=log,
        )
    try:
        _wait_ready(process, f"http://127.0.0.1:{ready_port}/ready", log_path)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def start_cpu_seconds(
    machine: BenchMachine, name: str, argv: list[str], ready_port: int, **environ: str
) -> float:
    """CPU of one of our processes until it is ready, the less of two starts.

    A flow begins to read before it is ready, so what events cost it is its CPU since its birth
    without that of a start while there is nothing to read.
    """
    spent_s = []
    for _ in range(2):
        with own_process(machine, name, argv, ready_port, **environ) as process:
            spent_s.append(cpu_seconds(process))
    return min(spent_s)


def _wait_ready(process: subprocess.Popen[bytes], url: str, log_path: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"{url} did not get ready:\n{log_path.read_text()[-2000:]}")


def gateway_environ(port: int) -> dict[str, str]:
    """Settings of a gateway on loopback that serves HTTP alone."""
    return {
        "INGESTOR_HTTP_PORT": str(port),
        "INGESTOR_GRPC_PORT": "-1",
        "INGESTOR_HOST": "127.0.0.1",
        "METRICS_PORT": "0",
    }


def free_port() -> int:
    """A free port on loopback."""
    return choose_port(0, ())


def cpu_seconds(process: psutil.Process) -> float:
    """User and system time of a process and its children, so far."""
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        times = one.cpu_times()
        total += times.user + times.system
    return total


class CpuMeter:
    """CPU time of some processes from its making to `per_event`."""

    def __init__(self, processes: Mapping[str, psutil.Process | None]) -> None:
        self._processes = {name: found for name, found in processes.items() if found is not None}
        self._before = {name: cpu_seconds(found) for name, found in self._processes.items()}

    def per_event(self, events: int) -> dict[str, float]:
        """Microseconds an event, by `NAME_cpu_us_per_event`; plain for the name ``."""
        return {
            f"{name}_cpu_us_per_event".removeprefix("_"): round(
                (cpu_seconds(found) - self._before[name]) / events * 1e6, 2
            )
            for name, found in self._processes.items()
        }


def rss_mb(process: psutil.Process) -> float:
    """Resident memory of a process and its children."""
    found = (process, *process.children(recursive=True))
    return sum(one.memory_info().rss for one in found) / 1e6


KAFKA = "kafka.Kafka"
CLICKHOUSE = "clickhouse_server"


def server_process(machine: BenchMachine, word: str) -> psutil.Process | None:
    """The server of this benchmark's folder whose command line holds `word`."""
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if word in line and str(machine.folder) in line:
            return process
    return None


def events_on_topic(brokers: str, topic: Topic) -> tuple[int, int]:
    """Records and events on a topic, read back and counted by their headers."""
    consumer = Consumer(
        {"bootstrap.servers": brokers, "group.id": "benchmark-audit", "enable.auto.commit": False}
    )
    partitions = [TopicPartition(topic.name, number, 0) for number in range(topic.partitions)]
    waiting = sum(
        consumer.get_watermark_offsets(partition, timeout=10)[1] for partition in partitions
    )
    consumer.assign(partitions)
    records = events = 0
    while records < waiting:
        for message in consumer.consume(1_000, timeout=5):
            if message.error() is None:
                records += 1
                events += int(dict(message.headers() or ())["events"])
    consumer.close()
    return records, events
