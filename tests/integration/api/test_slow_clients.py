"""Clients that are slow on purpose: none keeps a connection, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

import api.bodies
import api.reads.exports
from api.connections import CONNECTIONS, watch_connections
from connectors.clickhouse import connect
from tests.integration.api.conftest import SceneShop, Shop, api_client

HEAD = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
ROWS = 30_000
_MANY = """
INSERT INTO events (event_id, project_id, session_id, event_type, timestamp, received_at, payload)
SELECT
    generateUUIDv4(), {project:String}, generateUUIDv4(), 'custom_event',
    now64(3) - toIntervalSecond(number % 3600), now64(3),
    concat('{"text":"', repeat('y', 1500), '"}')
FROM numbers({rows:UInt64})
"""


def server_of(client: TestClient[Any, Any]) -> web.Server:
    """The running server of a test's client."""
    assert client.server.runner is not None
    server = client.server.runner.server
    assert server is not None
    return server


def application_of(client: TestClient[Any, Any]) -> web.Application:
    """Its application."""
    app: web.Application | None = client.app
    assert app is not None
    return app


Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def open_slow(client: TestClient[Any, Any], begin: bytes) -> Opened:
    """A connection on which no more than the begin of a request was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(begin)
    await writer.drain()
    return reader, writer


@pytest.mark.parametrize("begin", [b"", b"GET /api/v1/me", HEAD + b"X-Slow: "])
async def test_a_head_that_never_ends_is_given_up(shop: Shop, begin: bytes) -> None:
    """Whatever trickles in; others are answered before and after."""
    async with api_client(shop.databases) as client:
        watch = asyncio.create_task(
            watch_connections(application_of(client), server_of(client), silent_s=0.3, sweep_s=0.05)
        )
        slow = [await open_slow(client, begin) for _ in range(20)]

        async def trickle() -> None:
            while True:
                for _, writer in slow:
                    writer.write(b"a" if begin else b"")
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        async with client.get("/health") as answer:
            assert answer.status == 200
        for reader, _ in slow:
            with suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 20) == b""
        trickling.cancel()
        watch.cancel()
        for _, writer in slow:
            writer.close()
        async with client.get("/health") as answer:
            assert answer.status == 200


async def test_a_request_that_is_worked_on_is_not_closed(
    scene_shop: SceneShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes: a slow body ends by its own limit, with an answer."""
    monkeypatch.setattr(api.bodies, "BODY_TIMEOUT_S", 1.0)
    async with api_client(scene_shop.databases) as client:
        watch = asyncio.create_task(
            watch_connections(application_of(client), server_of(client), silent_s=0.2, sweep_s=0.05)
        )
        project_id = scene_shop.scenes.project_id
        path = f"PATCH /api/v1/projects/{project_id}/errors/0123456789abcdef HTTP/1.1\r\n"
        head = f"Host: x\r\nX-GoSight-Key: {scene_shop.admin_key}\r\n"
        body = 'Content-Type: application/json\r\nContent-Length: 90\r\n\r\n{"st'
        reader, writer = await open_slow(client, (path + head + body).encode())
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 20)
        assert answer == b"HTTP/1.1 408 Request Timeout\r\n"
        watch.cancel()
        writer.close()


async def test_an_export_that_nobody_reads_is_broken_off(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some 45 MB fit no buffer: whoever stops reading is left without the end of the file."""
    monkeypatch.setattr(api.reads.exports, "READER_TIMEOUT_S", 0.5)
    client_now = connect(shop.databases.clickhouse_url)
    client_now.command(_MANY, parameters={"project": shop.project_id, "rows": ROWS})
    client_now.close()
    async with api_client(shop.databases) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port, limit=4096)
        path = f"/api/v1/projects/{shop.project_id}/export/events?format=ndjson"
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-GoSight-Key: {shop.read_key}\r\n\r\n"
        writer.write(head.encode())
        assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 200 OK\r\n"
        server, deadline = server_of(client), time.monotonic() + 30
        while server.connections and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        assert server.connections == []
        rest = b""
        with suppress(ConnectionError):
            while chunk := await reader.read(1 << 20):
                rest = (rest + chunk)[-16:]
        assert not rest.endswith(b"0\r\n\r\n")
        writer.close()


async def test_a_connection_counts_as_silent_from_its_last_answer(shop: Shop) -> None:
    """By the clock of the connections alone."""
    clock = [100.0]
    async with api_client(shop.databases) as client:
        server, connections = server_of(client), application_of(client)[CONNECTIONS]
        connections.now_s = lambda: clock[0]
        for moment_s in (100.0, 174.0):
            clock[0] = moment_s
            assert connections.close_silent(server, 75.0) == 0
            async with client.get("/health") as answer:
                assert answer.status == 200
            assert len(server.connections) == 1
        clock[0] = 248.0
        assert connections.close_silent(server, 75.0) == 0
        clock[0] = 249.0
        assert connections.close_silent(server, 75.0) == 1
