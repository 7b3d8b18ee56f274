"""Live WebSockets: 500 clients of ten projects on one API process, and insights at a fixed rate.

Each record is told to the 50 clients of its project. `cpu_us_per_message` is CPU of the API process
for one message to one client, what idle clients take left out; latency is from before the record is
given to Kafka until a client of this process has the message, so waits of the producer, of Kafka
and of the clients here are in it. `cpu_us_per_unwatched` is for a record of a project that nobody
watches. `rss_kb_per_client` is what the process grew by while they connected.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any

import aiohttp
import psutil

from benchmarks.bench_machine import (
    BenchMachine,
    bench_machine,
    cpu_seconds,
    free_port,
    own_process,
    rss_mb,
)
from cli.project_store import connect as connect_projects
from cli.project_store import create_key, create_project
from connectors.kafka_log import OutRecord
from connectors.kafka_producer import KafkaRecordProducer
from schemas.topics import INSIGHTS
from schemas.v1.pipeline_pb2 import Insight

PROJECTS = 10
CLIENTS = 500
CLIENTS_A_KEY = 5
CONNECT_AT_ONCE = 50
TICK_S = 0.1
IDLE_S = 10.0


@dataclass
class _Heard:
    """What all clients got."""

    waits_ms: list[float] = field(default_factory=list)
    dropped: int = 0


def run(events: int = 3_000, records_per_s: int = 100) -> dict[str, object]:
    """CPU, latency and memory while so many records are told."""
    with bench_machine() as machine:
        port = free_port()
        environ = {
            "API_HOST": "127.0.0.1",
            "API_PORT": str(port),
            "JWT_SECRET": "secret of the benchmark, and of no other",
            "API_READS_PER_MINUTE": "1000000",
        }
        with own_process(machine, "api", ["api"], port, **environ) as process:
            return asyncio.run(_measure(machine, process, port, events, records_per_s))


async def _measure(
    machine: BenchMachine, process: psutil.Process, port: int, events: int, records_per_s: int
) -> dict[str, object]:
    projects, keys = _projects(machine)
    heard = _Heard()
    async with AsyncExitStack() as opened:
        connector = aiohttp.TCPConnector(limit=0)
        session = await opened.enter_async_context(aiohttp.ClientSession(connector=connector))
        rss_before = rss_mb(process)
        sockets = []
        places = [(project_id, key) for project_id, own in zip(projects, keys, strict=True)
                  for key in own for _ in range(CLIENTS_A_KEY)]  # fmt: skip
        for first in range(0, len(places), CONNECT_AT_ONCE):
            sockets += await asyncio.gather(
                *(_connect(session, port, *one) for one in places[first : first + CONNECT_AT_ONCE])
            )
        readers = [asyncio.create_task(_listen(socket, heard)) for socket in sockets]
        rss_connected = rss_mb(process)
        idle_s = await _cpu(process, asyncio.sleep(IDLE_S))
        producer = KafkaRecordProducer(machine.urls["KAFKA_BROKERS"])
        began_s = time.perf_counter()
        told_s = await _cpu(process, _produce(producer, projects, events, records_per_s))
        spent_s = time.perf_counter() - began_s
        nobody = [str(uuid.uuid4())]
        unwatched = events * 10
        began_s = time.perf_counter()
        other_s = await _cpu(process, _produce(producer, nobody, unwatched, records_per_s * 10))
        other_spent_s = time.perf_counter() - began_s
        rss_after = rss_mb(process)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    messages = len(heard.waits_ms)
    cuts = quantiles(heard.waits_ms, n=100)
    idle = idle_s / IDLE_S
    return {
        "benchmark": "realtime",
        "clients": len(places),
        "projects": PROJECTS,
        "records_per_s": records_per_s,
        "messages": messages,
        "missing": events * len(places) // PROJECTS - messages - heard.dropped,
        "dropped": heard.dropped,
        "cpu_us_per_message": round((told_s - idle * spent_s) / max(1, messages) * 1e6, 1),
        "cpu_us_per_unwatched": round((other_s - idle * other_spent_s) / unwatched * 1e6, 1),
        "idle_cpu_percent": round(idle * 100, 1),
        "p50_ms": round(cuts[49], 1),
        "p99_ms": round(cuts[98], 1),
        "rss_mb": round(rss_after, 1),
        "rss_kb_per_client": round((rss_connected - rss_before) * 1e3 / len(places), 1),
        "load_average": round(psutil.getloadavg()[0], 1),
    }


def _projects(machine: BenchMachine) -> tuple[list[str], list[list[str]]]:
    """Projects, and read keys of each for its clients."""
    projects, keys = [], []
    with connect_projects(machine.urls["DATABASE_URL"]) as connection:
        for number in range(PROJECTS):
            project = create_project(connection, f"live {number}")
            projects.append(str(project.id))
            keys.append(
                [
                    create_key(connection, project.id, name=f"r{place}", permission="read")[0]
                    for place in range(CLIENTS // PROJECTS // CLIENTS_A_KEY)
                ]
            )
    return projects, keys


async def _connect(
    session: aiohttp.ClientSession, port: int, project_id: str, key: str
) -> aiohttp.ClientWebSocketResponse:
    url = f"http://127.0.0.1:{port}/api/v1/projects/{project_id}/realtime"
    socket = await session.ws_connect(url)
    await socket.send_json({"type": "auth", "token": key})
    await socket.send_json({"type": "subscribe", "channels": ["insights"]})
    while (message := await socket.receive_json())["type"] != "subscribed":
        assert message["type"] in {"auth.ok", "metrics"}, message
    return socket


async def _listen(socket: aiohttp.ClientWebSocketResponse, heard: _Heard) -> None:
    async for frame in socket:
        message = json.loads(frame.data)
        if message["type"] == "insight":
            heard.waits_ms.append((time.time_ns() - int(message["data"]["path"])) / 1e6)
        elif message["type"] == "dropped":
            heard.dropped += message["data"]["count"]


async def _produce(
    producer: KafkaRecordProducer, projects: Sequence[str], count: int, per_s: int
) -> None:
    """Records in turn for each project, evenly; then a moment for the last to arrive."""
    size = max(1, round(per_s * TICK_S))
    began_s = time.perf_counter()
    for first in range(0, count, size):
        chosen = [projects[(first + number) % len(projects)] for number in range(size)]
        await asyncio.to_thread(producer.produce_all, [_record(one) for one in chosen])
        wait_s = began_s + (first + size) / per_s - time.perf_counter()
        await asyncio.sleep(max(0.0, wait_s))
    await asyncio.sleep(2.0)


def _record(project_id: str) -> OutRecord:
    insight = Insight(
        project_id=project_id,
        insight_id=str(uuid.uuid4()),
        session_id=str(uuid.uuid4()),
        insight_type="rage_click",
        path=str(time.time_ns()),
    )
    return OutRecord(INSIGHTS.name, project_id.encode(), insight.SerializeToString())


async def _cpu(process: psutil.Process, work: Coroutine[Any, Any, None]) -> float:
    """CPU seconds that the process takes while something goes on."""
    before_s = cpu_seconds(process)
    await work
    return cpu_seconds(process) - before_s
