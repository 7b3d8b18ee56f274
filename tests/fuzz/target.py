"""What is fuzzed: a real gateway process on real servers, with one project for the cases and one
for the good batches that are sent in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout

from connectors.kafka_admin import ensure_topics
from schemas.topics import EVENTS_RAW
from schemas.v1.pipeline_pb2 import RawBatch
from tests.gateway_world import make_batch
from tests.integration.ingest_gateway.gateway_process import (
    GatewayProcess,
    Project,
    TopicReader,
    create_project,
    create_tables,
    gateway_process,
)
from tests.stack import RunningStack, fresh_databases, running_stack

GOOD_TIMEOUT_S = 10.0
PEAK_RESET = "5"  # For /proc/PID/clear_refs: the peak is what it is now.
FAILURES = frozenset({"request_failed", "http_request_failed"})


def peak_bytes(pid: int) -> int:
    """The largest resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


class GatewayTarget:
    """See `runner.Target`."""

    host = "127.0.0.1"

    def __init__(
        self, gateway: GatewayProcess, project: Project, good: Project, reader: TopicReader
    ) -> None:
        self._gateway = gateway
        self._good = good
        self._reader = reader
        self._seen_lines = self._seen_noise = 0
        self.http_port = gateway.http_port
        self.grpc_port: int | None = gateway.grpc_port
        self.key = project.key

    def is_alive(self) -> bool:
        """See `Target`."""
        return self._gateway.process.poll() is None

    def memory_bytes(self) -> int:
        """See `Target`."""
        return self._gateway.memory_bytes()

    def peak_bytes(self) -> int:
        """See `Target`."""
        return peak_bytes(self._gateway.process.pid)

    def forget_peak(self) -> None:
        """See `Target`."""
        Path(f"/proc/{self._gateway.process.pid}/clear_refs").write_text(PEAK_RESET)

    async def check_good(self) -> str | None:
        """See `Target`: 202 for ten events, and the same ten in the topic."""
        batch = make_batch(10)
        try:
            async with (
                ClientSession(timeout=ClientTimeout(GOOD_TIMEOUT_S)) as session,
                session.post(
                    self._gateway.url + "/v1/events",
                    data=batch.SerializeToString(),
                    headers=self._good.headers(),
                ) as response,
            ):
                if response.status != 202:
                    return f"a good batch was answered {response.status}"
        except (ClientError, TimeoutError) as error:
            return f"a good batch was not answered: {type(error).__name__}"
        wanted = [event.event_id for event in batch.events]
        messages = await asyncio.to_thread(self._reader.read, self._good.project_id, 1)
        found = [
            event.event_id
            for message in messages
            for event in RawBatch.FromString(message.value()).events
        ]
        return None if found == wanted else f"of 10 good events {len(found)} were written"

    def log_failures(self) -> list[str]:
        """See `Target`."""
        lines = self._gateway.log[self._seen_lines :]
        self._seen_lines += len(lines)
        noise = self._gateway.noise[self._seen_noise :]
        self._seen_noise += len(noise)
        failures = [str(line)[:2000] for line in lines if line.get("event") in FAILURES]
        return failures + [line.rstrip()[:500] for line in noise]


@contextmanager
def gateway_target(servers: RunningStack) -> Iterator[GatewayTarget]:
    """A new gateway process on these servers; their database must have the tables."""
    project, good = (create_project(servers.database_url) for _ in range(2))
    reader = TopicReader(servers.kafka_brokers, EVENTS_RAW.name)
    try:
        with gateway_process(servers.urls) as gateway:
            yield GatewayTarget(gateway, project, good, reader)
    finally:
        reader.close()


@contextmanager
def own_servers() -> Iterator[RunningStack]:
    """The real servers with a fresh database that has the tables."""
    with running_stack() as running:
        ensure_topics(running.kafka_brokers)
        with fresh_databases(running) as fresh:
            create_tables(fresh.database_url)
            yield fresh
