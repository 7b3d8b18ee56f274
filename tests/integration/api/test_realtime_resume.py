"""Live clients that come back, at this process or another one, and clients that are too slow."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import signal
import socket
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from prometheus_client import REGISTRY

from api.realtime.limits import RealtimeLimits
from api.realtime.messages import MessageId
from standalone.ports import choose_port
from tests.integration.api.account_world import SECRET, Person, World
from tests.integration.api.realtime_world import (
    LiveClient,
    connected,
    events_record,
    insight_record,
    live_world,
    produce,
    session_record,
)
from tests.stack import RunningStack

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
async def live(databases: RunningStack) -> AsyncIterator[World]:
    """The account side with live WebSockets."""
    async with live_world(databases) as world:
        yield world


async def shop_of(world: World) -> tuple[Person, str]:
    """Somebody with a project."""
    owner = await world.register()
    project_id, _ = await world.project(owner)
    return owner, project_id


@asynccontextmanager
async def api_process(databases: RunningStack) -> AsyncIterator[tuple[str, Any]]:
    """`python -m api` on these servers: its address, and the process."""
    port = choose_port(0, ())
    environ = {"API_HOST": "127.0.0.1", "API_PORT": str(port), "JWT_SECRET": SECRET}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "api"),
        cwd=ROOT,
        env={**os.environ, **databases.urls, **environ},
        stderr=asyncio.subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            while True:
                with suppress(aiohttp.ClientError):
                    async with session.get(f"{address}/ready") as answer:
                        if answer.status == 200:
                            break
                assert process.returncode is None
                await asyncio.sleep(0.05)
        yield address, process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def connected_to(address: str, project_id: str, who: Person) -> AsyncIterator[LiveClient]:
    """A client of a process, logged in."""
    url = f"{address}/api/v1/projects/{project_id}/realtime"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as opened:
        client = LiveClient(opened)
        await client.log_in(who.access_token)
        yield client


async def test_who_comes_back_gets_what_it_missed(live: World, databases: RunningStack) -> None:
    """In each channel what came since the last id, nothing of others, and nothing of before."""
    owner, project_id = await shop_of(live)
    _, other_id = await shop_of(live)
    async with connected(live, project_id, owner, "insights", "sessions", "events") as client:
        await produce(databases, [insight_record(project_id, "seen")])
        seen = (await client.next("insight"))["id"]
    visit = str(uuid4())
    missed = [
        insight_record(project_id, "missed 1"),
        session_record(project_id, visit),
        insight_record(other_id, "foreign"),
        insight_record(project_id, "missed 2"),
    ]
    await produce(databases, missed)
    async with connected(live, project_id, owner) as client:
        # So that the process has read what it is asked for.
        await client.subscribe("insights", "sessions")
        await produce(databases, [insight_record(project_id, "mark")])
        await client.next("insight")
    async with connected(live, project_id, owner) as client:
        await client.subscribe("insights", "sessions", last_id=seen)
        await produce(databases, [insight_record(project_id, "live")])
        while not client.got or client.got[-1].get("data", {}).get("insight_id") != "live":
            await client.next("insight", "session.start")
        found = [m["data"]["insight_id"] for m in client.got if m["type"] == "insight"]
        assert found == ["missed 1", "missed 2", "mark", "live"]
        (start,) = [m for m in client.got if m["type"] == "session.start"]
        assert start["data"]["session_id"] == visit
        assert not client.ids("gap")


async def test_events_are_kept_for_who_comes_back(live: World, databases: RunningStack) -> None:
    """While somebody looked at them lately; who asks for older ones is told of the gap."""
    owner, project_id = await shop_of(live)
    session_id = str(uuid4())
    async with connected(live, project_id, owner, "events") as client:
        await produce(databases, [events_record(project_id, session_id, 3)])
        for _ in range(3):
            seen = (await client.next("event"))["id"]
    async with connected(live, project_id, owner) as client:
        await client.subscribe("events", last_id=seen)
        assert (await client.next("gap"))["data"] == {"channels": ["events"]}
    async with live_world(databases) as world:
        world.clock.forward(-60)  # As if the first look had been a minute before.
        owner, project_id = await shop_of(world)
        async with connected(world, project_id, owner, "events") as client:
            await produce(databases, [events_record(project_id, session_id, 3)])
            first, *rest = [(await client.next("event"))["id"] for _ in range(3)]
        async with connected(world, project_id, owner) as client:
            await client.subscribe("events", last_id=first)
            assert [(await client.next("event", "gap")).get("id") for _ in range(2)] == rest


async def test_what_is_not_kept_is_a_gap(live: World) -> None:
    """An id from long ago: read it by the calls. The position of a subscription is no gap."""
    owner, project_id = await shop_of(live)
    async with connected(live, project_id, owner) as client:
        old = str(MessageId(live.clock.now_ms - 3_600_000, "s", 1, 5, 0))
        begun = await client.subscribe("sessions", "alerts", "visitors", last_id=old)
        assert (await client.next("gap"))["data"] == {"channels": ["sessions", "alerts"]}
        await client.subscribe("sessions", "insights", last_id=begun["position"])
        await client.send(type="ping")
        await client.next("pong")
        assert [m["type"] for m in client.got].count("gap") == 1


async def test_a_restart_and_another_process_know_the_same_ids(
    live: World, databases: RunningStack
) -> None:
    """SIGTERM says 1001; what came meanwhile is got from the next process, and from any other."""
    owner, project_id = await shop_of(live)
    async with (
        api_process(databases) as (address, process),
        connected_to(address, project_id, owner) as client,
    ):
        await client.subscribe("insights", "sessions")
        await produce(databases, [insight_record(project_id, "seen")])
        seen = (await client.next("insight"))["id"]
        process.send_signal(signal.SIGTERM)
        assert await client.code() == 1001
        assert await process.wait() == 0
    visit = str(uuid4())
    await produce(
        databases, [insight_record(project_id, "missed"), session_record(project_id, visit)]
    )
    ids = []
    async with api_process(databases) as (address, _):
        async with connected_to(address, project_id, owner) as client:
            await client.subscribe("insights", "sessions", last_id=seen)
            await client.next("insight")
            while "session.start" not in {m["type"] for m in client.got}:
                await client.next("session.start")
            ids.append(sorted(client.ids("insight", "session.start")))
        async with connected(live, project_id, owner) as client:
            await client.subscribe("insights", "sessions", last_id=seen)
            while len(client.ids("insight", "session.start")) < 2:
                await client.next("insight", "session.start")
            ids.append(sorted(client.ids("insight", "session.start")))
    assert ids[0] == ids[1]
    assert len(ids[0]) == 2


async def test_a_busy_project_does_not_flood_its_clients(
    live: World, databases: RunningStack
) -> None:
    """Fifty messages at once and fifty a second; the rest is counted and told."""
    owner, project_id = await shop_of(live)
    async with connected(live, project_id, owner, "insights") as client:
        count = 400
        began_s = time.monotonic()
        await produce(databases, [insight_record(project_id, str(n)) for n in range(count)])
        dropped = 0
        while len(client.ids("insight")) + dropped < count:
            message = await client.next("insight", "dropped")
            if message["type"] == "dropped":
                dropped += message["data"]["count"]
        took_s = time.monotonic() - began_s
        assert len(client.ids("insight")) + dropped == count
        assert 50 <= len(client.ids("insight")) <= 50 * (took_s + 1) + 1
        assert dropped > 0


async def test_who_does_not_read_holds_nobody_up(databases: RunningStack) -> None:
    """Its messages are dropped, it is cut off after a while, and others get theirs meanwhile."""
    async with live_world(databases, RealtimeLimits(look_s=0.02, stuck_s=1.0)) as world:
        owner, project_id = await shop_of(world)
        host, port = "127.0.0.1", world.client.port
        assert port is not None
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            deaf.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(deaf, (host, port))
            path = f"/api/v1/projects/{project_id}/realtime"
            key = base64.b64encode(os.urandom(16)).decode()
            head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
            head += "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            await loop.sock_sendall(deaf, f"{head}Sec-WebSocket-Key: {key}\r\n\r\n".encode())
            await loop.sock_sendall(
                deaf,
                frame(f'{{"type":"auth","token":"{owner.access_token}"}}')
                + frame('{"type":"subscribe","channels":["insights"]}'),
            )
            text = b""
            while b"subscribed" not in text:
                text += await loop.sock_recv(deaf, 4_096)
            async with connected(world, project_id, owner, "insights") as reading:
                before = sample("dropped", channel="insights")
                closed = sample("closed", code="4408")
                texts = [f"large {number} " + "x" * 200_000 for number in range(100)]
                await produce(databases, [insight_record(project_id, text) for text in texts])
                while sample("dropped", channel="insights") == before:
                    await reading.next("insight", "dropped")
                listening = asyncio.create_task(until_insight(reading, "after"))
                while not listening.done():  # Some may come while the flood still drops.
                    await produce(databases, [insight_record(project_id, "after")])
                await listening
                async with asyncio.timeout(20):
                    while sample("closed", code="4408") == closed:
                        await asyncio.sleep(0.02)
                    with suppress(ConnectionError):
                        while await loop.sock_recv(deaf, 1_048_576):
                            pass
                await reading.send(type="ping")
                await reading.next("pong")


async def until_insight(client: LiveClient, insight_id: str) -> None:
    """Listen until the insight comes."""
    while (await client.next("insight"))["data"]["insight_id"] != insight_id:
        pass


def sample(name: str, **labels: str) -> float:
    """A counter of this process."""
    full = f"gosight_api_realtime_{name}_total"
    return REGISTRY.get_sample_value(full, labels) or 0.0


def frame(text: str) -> bytes:
    """A client's text message; the mask is zero."""
    body = text.encode()
    size = bytes([0x80 | len(body)]) if len(body) < 126 else b"\xfe" + len(body).to_bytes(2, "big")
    return b"\x81" + size + bytes(4) + body


async def test_the_example_in_the_documents_works(
    live: World, databases: RunningStack, capsys: pytest.CaptureFixture[str]
) -> None:
    """It logs in, subscribes, prints what happens once, and comes back after a lost connection."""
    owner, project_id = await shop_of(live)
    text = (ROOT / "docs" / "realtime.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    space: dict[str, Any] = {}
    exec(compile(textwrap.dedent(found[1]), "docs/realtime.md", "exec"), space)
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    address = f"http://127.0.0.1:{live.client.port}"
    following = asyncio.create_task(
        space["follow"](address, project_id, owner.access_token, told.put_nowait)
    )
    try:
        async with asyncio.timeout(60):
            while (await told.get())["type"] != "subscribed":
                pass
            await produce(databases, [insight_record(project_id, "first")])
            while (message := await told.get())["type"] != "insight":
                pass
            assert message["data"]["insight_id"] == "first"
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
