"""Kafka frozen, stopped, and not there yet, with live clients connected."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from connectors.kafka_admin import ensure_topics
from sql.migrate import migrate_up
from standalone.stack import Stack
from tests.integration.api.account_world import Person, World
from tests.integration.api.realtime_world import (
    LiveClient,
    connected,
    insight_record,
    live_world,
    produce,
    session_record,
)
from tests.stack import RunningStack


@pytest.fixture(scope="module")
def own_servers() -> Iterator[RunningStack]:
    """Servers of this module alone, so that Kafka may be frozen and killed."""
    with (
        tempfile.TemporaryDirectory(prefix="gosight-live-") as folder,
        Stack(Path(folder), ports={}) as stack,
    ):
        migrate_up(stack.urls["DATABASE_URL"], stack.urls["CLICKHOUSE_URL"])
        ensure_topics(stack.urls["KAFKA_BROKERS"])
        yield RunningStack(stack.urls, stack)


@contextmanager
def frozen_kafka(servers: RunningStack) -> Iterator[None]:
    """It holds its connections and says nothing."""
    assert servers.stack is not None
    main = psutil.Process(servers.stack.process_ids["kafka"])
    found = [main, *main.children(recursive=True)]
    for process in found:
        process.suspend()
    try:
        yield
    finally:
        for process in found:
            process.resume()


@contextmanager
def stopped_kafka(servers: RunningStack) -> Iterator[None]:
    """It is killed, and started again on the same data."""
    assert servers.stack is not None
    os.kill(servers.stack.process_ids["kafka"], signal.SIGKILL)
    try:
        yield
    finally:
        servers.stack.restart("kafka")


async def shop_of(world: World) -> tuple[Person, str]:
    """Somebody with a project."""
    owner = await world.register()
    project_id, _ = await world.project(owner)
    return owner, project_id


async def still_there(client: LiveClient) -> None:
    """The connection answers."""
    await client.send(type="ping")
    await client.next("pong")


@pytest.mark.parametrize("outage", [frozen_kafka, stopped_kafka])
async def test_kafka_away_is_told_and_over_again(own_servers: RunningStack, outage: object) -> None:
    """The WebSocket stays, says so, and goes on with what was written before and after."""
    assert callable(outage)
    async with live_world(own_servers) as world:
        owner, project_id = await shop_of(world)
        async with connected(world, project_id, owner, "insights", "events") as client:
            await still_there(client)
            if any(
                message["type"] == "error" for message in client.got
            ):  # Young servers may need a second attempt.
                await client.next("available")
            await produce(own_servers, [insight_record(project_id, "before")])
            seen = (await client.next("insight"))["id"]
            with outage(own_servers):
                assert (await client.next("error"))["data"]["code"] == "UNAVAILABLE"
                await still_there(client)
                async with connected(world, project_id, owner) as late:
                    await late.subscribe("sessions")
                    assert (await late.next("error"))["data"]["code"] == "UNAVAILABLE"
                    await late.subscribe("insights", last_id=seen)
                    await late.next("error")
            await client.next("available")
            visit = str(uuid4())
            await produce(
                own_servers,
                [insight_record(project_id, "after"), session_record(project_id, visit)],
            )
            assert (await client.next("insight"))["data"]["insight_id"] == "after"
            async with connected(world, project_id, owner) as back:
                await back.subscribe("insights", last_id=seen)
                assert (await back.next("insight", "gap"))["data"]["insight_id"] == "after"


async def test_the_api_starts_without_kafka(own_servers: RunningStack) -> None:
    """Clients connect and are told; when it comes, nothing is missing, and all is live."""
    with stopped_kafka(own_servers):
        async with live_world(own_servers) as world:
            owner, project_id = await shop_of(world)
            async with connected(world, project_id, owner, "insights") as client:
                assert (await client.next("error"))["data"]["code"] == "UNAVAILABLE"
                assert own_servers.stack is not None
                await asyncio.to_thread(own_servers.stack.restart, "kafka")
                await client.next("available")
                assert "gap" not in [message["type"] for message in client.got]
                await produce(own_servers, [insight_record(project_id, "live")])
                assert (await client.next("insight"))["data"]["insight_id"] == "live"


async def test_brokers_that_are_nowhere_are_no_end(own_servers: RunningStack) -> None:
    """Brokers that cannot be reached at all: everything but what is live works."""
    nowhere = replace(own_servers, urls={**own_servers.urls, "KAFKA_BROKERS": "127.0.0.1:1"})
    async with live_world(nowhere) as world:
        owner, project_id = await shop_of(world)
        async with connected(world, project_id, owner, "sessions") as client:
            await client.next("error")
            assert (await client.next("metrics"))["data"]["active_sessions"] == 0
        assert (await world.call("GET", f"/projects/{project_id}", owner)).status == 200
