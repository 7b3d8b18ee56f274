"""Clients that are slow on purpose: each is ended in time, and the others are served meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from ingest_gateway import app, lane
from ingest_gateway.handlers import HttpOptions
from ingest_gateway.limits import RateOptions, SharedRates
from tests.gateway_world import WRITE_KEY, World, gateway_world, make_batch

HEAD = f"POST /v1/events HTTP/1.1\r\nHost: g\r\nX-GoSight-Key: {WRITE_KEY}\r\n".encode()
LIMIT_S = 0.4
SERVED_S = 0.5


@asynccontextmanager
async def connection(
    world: World,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection to the gateway."""
    parts = urlsplit(world.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def assert_served(world: World) -> None:
    """A good batch is taken at once."""
    started_s = time.perf_counter()
    assert (await world.post(make_batch(1).SerializeToString())).status == 202
    assert time.perf_counter() - started_s < SERVED_S


async def trickle(writer: asyncio.StreamWriter, content: bytes) -> None:
    """A byte every twentieth of a second, until the other side has enough."""
    for number in range(len(content)):
        writer.write(content[number : number + 1])
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("sent", "slowly"),
    [(b"", b""), (b"POST /v1/ev", b""), (b"", HEAD * 9), (HEAD, b"X-Slow: " + b"a" * 1000)],
)
async def test_unfinished_headers_are_ended(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, slowly: bytes
) -> None:
    """A connection that never finishes its headers, silent or trickling, is closed in time."""
    for module in (app, lane):
        monkeypatch.setattr(module, "KEEPALIVE_TIMEOUT_S", LIMIT_S)
    async with gateway_world() as world, connection(world) as (reader, writer):
        writer.write(sent)
        sending = asyncio.create_task(trickle(writer, slowly))
        started_s = time.perf_counter()
        async with asyncio.timeout(5):
            while await reader.read(1000):
                pass
        assert time.perf_counter() - started_s > LIMIT_S / 2
        sending.cancel()
        await assert_served(world)


@pytest.mark.parametrize("head", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"])
async def test_trickling_body_is_408_in_time(head: bytes) -> None:
    """That a byte comes now and then does not prolong the time of a body."""
    http = HttpOptions(request_timeout_s=LIMIT_S)
    async with gateway_world(http=http) as world, connection(world) as (reader, writer):
        writer.write(HEAD + head + b"\r\n\r\n")
        sending = asyncio.create_task(trickle(writer, b"1\r\na\r\n" * 100))
        started_s = time.perf_counter()
        async with asyncio.timeout(5):
            answer = await reader.read(1000)
        assert b" 408 " in answer.split(b"\r\n")[0]
        assert LIMIT_S / 2 < time.perf_counter() - started_s < 3.0
        sending.cancel()
        await assert_served(world)


async def test_slow_bodies_leave_places_for_others() -> None:
    """More slow bodies than places: half of them get one, and whole requests are served."""
    http = HttpOptions(requests_in_flight_max=20, request_timeout_s=30.0)
    async with gateway_world(http=http) as world:
        opened = [connection(world) for _ in range(40)]
        streams = [await one.__aenter__() for one in opened]
        try:
            for _, writer in streams:
                writer.write(HEAD + b"Content-Length: 1000\r\n\r\na")
            refused = 0
            async with asyncio.timeout(5):
                while refused < 30:
                    refused = 0
                    for reader, _ in streams:
                        refused += bool(reader._buffer.startswith(b"HTTP/1.1 503"))  # type: ignore[attr-defined]
                    await asyncio.sleep(0.01)
            assert refused == 30
            for _ in range(5):
                await assert_served(world)
        finally:
            for one in opened:
                await one.__aexit__(None, None, None)


async def test_unread_answers_are_bounded(world: World) -> None:
    """A client that sends on and on without reading an answer is held back, not remembered."""
    request = b"GET /health HTTP/1.1\r\nHost: g\r\n\r\n" * 2_000
    async with connection(world) as (_, writer):
        sending = asyncio.create_task(_send_on(writer, request, times=500))
        done, _ = await asyncio.wait({sending}, timeout=2.0)
        assert not done  # 34 MB of requests for 170 MB of answers: they are not taken in.
        sending.cancel()
        await assert_served(world)


async def _send_on(writer: asyncio.StreamWriter, content: bytes, times: int) -> None:
    for _ in range(times):
        writer.write(content)
        await writer.drain()


async def test_preflight_with_keys_counts_for_its_address(world: World) -> None:
    """Asking for keys by preflights is no way around the limit of an address."""
    options = RateOptions(address_per_s=1, address_burst=3, secret=b"s")
    world.ingestor._shared_rates = SharedRates(world.buckets, options)
    for number in range(10):
        url = f"{world.url}/v1/events?key=gs_live_{number:032d}"
        async with world.session.options(url, headers={"Origin": "https://a.example"}) as response:
            assert response.status == 204
    assert world.source.loads == 3
    assert (await world.post(make_batch(1).SerializeToString())).status == 429


@pytest.mark.parametrize(
    "header",
    [
        b"X-Content-Length: %d\r\n",
        b"X-Note: content-length: %d\r\n",
        b"Content-Length: 0\r\nX-Content-Length: %d\r\n",
    ],
)
async def test_another_header_does_not_swallow_the_next_request(
    world: World, header: bytes
) -> None:
    """Only Content-Length says how long a body is: what a proxy sends next is a request of its own.

    Else one client could have the next client's request, with its key, taken for its own body.
    """
    following = b"GET /health HTTP/1.1\r\nHost: g\r\n\r\n"
    usual = HEAD + b"Content-Type: application/json\r\n"
    async with connection(world) as (reader, writer):
        writer.write(usual + header % len(following) + b"\r\n")
        await asyncio.sleep(0.05)
        writer.write(following)
        received = b""
        async with asyncio.timeout(5):
            while b'"status":' not in received:
                part = await reader.read(4000)
                assert part, received
                received += part
    assert received.count(b"HTTP/1.1 ") == 2
    assert world.sink.records == []
