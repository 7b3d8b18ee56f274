"""Kafka away, stopped or killed; the gateway stopped or killed: what was acknowledged is there."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession
from confluent_kafka.admin import AdminClient

from connectors.kafka_admin import ensure_topics
from schemas.topics import EVENTS_RAW, EVENTS_REJECTED
from schemas.v1.pipeline_pb2 import RawBatch
from standalone.kafka import KafkaServer
from standalone.ports import choose_port
from standalone.settings import cache_dir
from tests.gateway_world import make_batch
from tests.integration.ingest_gateway.gateway_process import (
    NOWHERE,
    ROOT,
    GatewayProcess,
    Project,
    TopicReader,
    create_project,
    gateway_process,
)
from tests.stack import RunningStack

OpenReader = Callable[[str], TopicReader]
SENDERS = 8


class Traffic:
    """Batches of one event, sent by several clients until they are stopped."""

    def __init__(self, gateway: GatewayProcess, project: Project) -> None:
        self._url = gateway.url + "/v1/events"
        self._headers = project.headers()
        self.acknowledged: set[str] = set()
        self.statuses: set[int] = set()
        self.is_stopping = False

    async def run(self) -> None:
        """Send; a client whose connection breaks ends."""
        async with ClientSession() as session:
            await asyncio.gather(*(self._send(session) for _ in range(SENDERS)))

    async def _send(self, session: ClientSession) -> None:
        with suppress(ClientError):
            while not self.is_stopping:
                batch = make_batch(1)
                async with session.post(
                    self._url, data=batch.SerializeToString(), headers=self._headers
                ) as response:
                    self.statuses.add(response.status)
                    if response.status == 202:
                        self.acknowledged.add(batch.events[0].event_id)


@asynccontextmanager
async def traffic(gateway: GatewayProcess, project: Project) -> AsyncIterator[Traffic]:
    """Running traffic that has had its first 100 acknowledgements."""
    running = Traffic(gateway, project)
    task = asyncio.create_task(running.run())
    async with asyncio.timeout(20):
        while len(running.acknowledged) < 100:
            await asyncio.sleep(0.01)
    yield running
    running.is_stopping = True
    await asyncio.wait_for(task, 30)


def stored_ids(topic: TopicReader, project: Project, at_least: int) -> set[str]:
    """Ids of the project's events in Kafka, once as many are read as must be there."""
    messages = topic.read(project.project_id, at_least)
    messages += topic.read(project.project_id, 100_000, timeout_s=1.5)
    return {
        event.event_id
        for message in messages
        for event in RawBatch.FromString(message.value()).events
    }


async def test_sigterm_finishes_what_was_begun(servers: RunningStack, reader: OpenReader) -> None:
    """SIGTERM under load: exit 0, and everything acknowledged is in Kafka."""
    project = create_project(servers.database_url)
    topic = reader(EVENTS_RAW.name)
    with gateway_process(servers.urls) as gateway:
        async with traffic(gateway, project) as running:
            code = await asyncio.to_thread(gateway.stop)
    assert code == 0
    assert running.statuses == {202}
    assert running.acknowledged <= stored_ids(topic, project, len(running.acknowledged))


async def test_kill_loses_nothing_acknowledged(servers: RunningStack, reader: OpenReader) -> None:
    """kill -9 under load: what a client was told is in Kafka."""
    project = create_project(servers.database_url)
    topic = reader(EVENTS_RAW.name)
    with gateway_process(servers.urls) as gateway:
        async with traffic(gateway, project) as running:
            gateway.stop(signal.SIGKILL)
    assert running.acknowledged <= stored_ids(topic, project, len(running.acknowledged))


async def test_kafka_never_there(servers: RunningStack) -> None:
    """No broker: 503 with Retry-After in time, memory bounded, alive but not ready."""
    project = create_project(servers.database_url)
    environ = {
        **servers.urls,
        "KAFKA_BROKERS": NOWHERE,
        "KAFKA_DELIVERY_TIMEOUT_SECONDS": "2",
        "KAFKA_INFLIGHT_BYTES": "4000000",
    }
    with gateway_process(environ) as gateway:
        large = make_batch(20)
        for event in large.events:
            event.page.title = "x" * 900
            event.custom["text"] = "y" * 1000
        body = large.SerializeToString()
        async with ClientSession() as session:

            async def post() -> tuple[int, float, str]:
                started_s = time.monotonic()
                async with session.post(
                    gateway.url + "/v1/events", data=body, headers=project.headers()
                ) as response:
                    waited_s = time.monotonic() - started_s
                    return response.status, waited_s, response.headers.get("Retry-After", "")

            first = await post()
            assert first[0] == 503
            before = gateway.memory_bytes()
            for _ in range(3):
                answers = await asyncio.gather(*(post() for _ in range(400)))
                assert {status for status, _, _ in answers} == {503}
                assert all(int(retry_after) >= 1 for _, _, retry_after in answers)
                # Those beyond the bound were not kept waiting.
                assert sum(waited_s < 1.5 for _, waited_s, _ in answers) > 20
                assert max(waited_s for _, waited_s, _ in answers) < 8
            assert gateway.memory_bytes() - before < 60_000_000
            async with session.get(gateway.url + "/health") as response:
                assert response.status == 200
            async with session.get(gateway.url + "/ready") as response:
                assert response.status == 503
                assert (await response.json())["dependencies"]["kafka"]["state"] == "down"


def test_a_setting_that_nothing_takes_ends_the_process(servers: RunningStack) -> None:
    """It says why and ends, for a supervisor to see; it does not stay, deaf to SIGTERM."""
    ended = subprocess.run(
        [sys.executable, "-m", "ingest_gateway"],
        cwd=ROOT,
        env={
            **os.environ,
            **servers.urls,
            "INGESTOR_HTTP_PORT": "0",
            "INGESTOR_GRPC_PORT": "0",
            "METRICS_PORT": "0",
            "KAFKA_COMPRESSION": "brotli",
        },
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    [line] = [json.loads(text) for text in ended.stderr.splitlines()]
    assert line["event"] == "start_failed"
    assert "brotli" in line["reason"]


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
async def test_ipv6(servers: RunningStack) -> None:
    """Both ports listen on an address of IPv6."""
    with gateway_process({**servers.urls, "INGESTOR_HOST": "::1"}) as gateway:
        url = f"http://[::1]:{gateway.http_port}/health"
        async with ClientSession() as session, session.get(url) as response:
            assert response.status == 200
        with socket.create_connection(("::1", gateway.grpc_port), timeout=5):
            pass


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[KafkaServer]:
    """A broker that a test may stop."""
    port = choose_port(0)
    server = KafkaServer(
        tmp_path / "kafka",
        port,
        choose_port(0, (port,)),
        cache_dir(os.environ),
        tmp_path / "kafka.log",
    )
    server.start(lambda _: None)
    assert server.process is not None
    try:
        ensure_topics(server.brokers)
        yield server
    finally:
        server.process.stop()


async def test_a_topic_is_not_there(servers: RunningStack, own_kafka: KafkaServer) -> None:
    """A broker that answers and has no place for events: not ready, and said which is missing."""
    admin = AdminClient({"bootstrap.servers": own_kafka.brokers})
    for deleted in admin.delete_topics([EVENTS_REJECTED.name], operation_timeout=10).values():
        deleted.result()
    environ = {**servers.urls, "KAFKA_BROKERS": own_kafka.brokers}
    with gateway_process(environ) as gateway:
        async with ClientSession() as session:

            async def ready() -> tuple[int, str]:
                async with session.get(gateway.url + "/ready") as response:
                    kafka = (await response.json())["dependencies"]["kafka"]
                    return response.status, kafka["detail"]

            async with asyncio.timeout(10):
                while EVENTS_REJECTED.name not in (found := await ready())[1]:
                    await asyncio.sleep(0.1)
            assert found[0] == 503
            ensure_topics(own_kafka.brokers)
            async with asyncio.timeout(10):
                while await ready() != (200, ""):
                    await asyncio.sleep(0.1)


async def test_broker_stopped_and_continued(servers: RunningStack, own_kafka: KafkaServer) -> None:
    """A frozen broker: 503, never 202; when it goes on, 202 again; nothing acknowledged is lost."""
    assert own_kafka.process is not None
    project = create_project(servers.database_url)
    environ = {
        **servers.urls,
        "KAFKA_BROKERS": own_kafka.brokers,
        "KAFKA_DELIVERY_TIMEOUT_SECONDS": "2",
    }
    topic = TopicReader(own_kafka.brokers, EVENTS_RAW.name)
    try:
        with gateway_process(environ) as gateway:
            async with traffic(gateway, project) as running:
                pid = own_kafka.process.pid
                os.kill(pid, signal.SIGSTOP)
                try:
                    await asyncio.sleep(4)
                    assert 503 in running.statuses
                    known = len(running.acknowledged)
                    await asyncio.sleep(1)
                    assert len(running.acknowledged) == known
                finally:
                    os.kill(pid, signal.SIGCONT)
                async with asyncio.timeout(20):
                    while len(running.acknowledged) < known + 100:
                        await asyncio.sleep(0.05)
            assert running.statuses == {202, 503}
            assert gateway.stop() == 0
        assert running.acknowledged <= stored_ids(topic, project, len(running.acknowledged))
    finally:
        topic.close()


async def test_two_processes_share_the_ports(servers: RunningStack, reader: OpenReader) -> None:
    """Two workers answer on one port; one that is killed comes back; SIGTERM ends all with 0."""
    project = create_project(servers.database_url)
    topic = reader(EVENTS_RAW.name)
    http_port = choose_port(0)
    ports = {
        "INGESTOR_HTTP_PORT": str(http_port),
        "INGESTOR_GRPC_PORT": str(choose_port(0, (http_port,))),
    }
    with gateway_process({**servers.urls, **ports}, "--processes", "2") as gateway:
        async with asyncio.timeout(20):
            while sum(line["event"] == "started" for line in gateway.log) < 2:
                await asyncio.sleep(0.05)
        body = make_batch(1).SerializeToString()
        for _ in range(20):
            async with (
                ClientSession() as session,
                session.post(
                    gateway.url + "/v1/events", data=body, headers=project.headers()
                ) as response,
            ):
                assert response.status == 202
        assert len(topic.read(project.project_id, 20)) == 20
        assert gateway.stop() == 0
        assert sum(line["event"] == "stopped" for line in gateway.log) == 2
