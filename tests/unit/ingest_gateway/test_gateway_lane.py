"""The short way for plain requests answers as the application does, and leaves it the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from ingest_gateway.handlers import HttpOptions
from ingest_gateway.lane import HEAD_BYTES_MAX
from tests.gateway_world import WRITE_KEY, World, gateway_world, make_batch

HEAD = (
    b"POST /v1/events HTTP/1.1\r\nHost: a\r\nX-GoSight-Key: %s\r\n"
    b"Content-Type: application/x-protobuf\r\nContent-Length: %%d\r\n\r\n"
) % WRITE_KEY.encode()


@dataclass
class Client:
    """A connection with bytes in and answers out."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Write bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        """The next answer's status and head."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        await self.reader.readexactly(length)
        return int(head.split(b" ")[1]), head


@asynccontextmanager
async def connected(world: World) -> AsyncIterator[Client]:
    """A new connection."""
    host, port = world.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


def request(count: int = 2) -> bytes:
    """A whole plain request."""
    body = make_batch(count).SerializeToString()
    return HEAD % len(body) + body


def is_from_aiohttp(head: bytes) -> bool:
    """Whether the application answered: only it tells the date."""
    return b"\r\nDate:" in head


async def test_plain_requests_stay_in_the_lane() -> None:
    """One after the other on one connection, with bodies of other lengths."""
    async with gateway_world() as world, connected(world) as client:
        for count in (1, 2, 3, 12):
            await client.send(request(count))
            status, head = await client.answer()
            assert status == 202
            assert not is_from_aiohttp(head)
        assert sum(raw.event_count for raw in world.sink.raw()) == 18


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_a_request_may_come_in_pieces(size: int) -> None:
    """However the bytes are cut, the request is the same."""
    async with gateway_world() as world, connected(world) as client:
        data = request()
        for start in range(0, len(data), size):
            await client.send(data[start : start + size])
            await asyncio.sleep(0)
        assert (await client.answer())[0] == 202
        assert len(world.sink.raw()) == 1


async def test_requests_sent_without_waiting_are_all_answered_in_order() -> None:
    """Many requests in one piece go to aiohttp, and none is lost or doubled."""
    async with gateway_world() as world, connected(world) as client:
        await client.send(b"".join(request(count) for count in (1, 2, 3)))
        assert [(await client.answer())[0] for _ in range(3)] == [202] * 3
        assert [raw.event_count for raw in world.sink.raw()] == [1, 2, 3]


async def test_a_request_during_another_waits_for_its_answer() -> None:
    """What comes while a request is worked on is served after it."""
    async with gateway_world() as world, connected(world) as client:
        await client.send(request(1))
        assert (await client.answer())[0] == 202
        world.sink.may_acknowledge.clear()
        await client.send(request(2))
        await asyncio.sleep(0.05)
        await client.send(request(3) * 1)
        await asyncio.sleep(0.05)
        world.sink.may_acknowledge.set()
        assert [(await client.answer())[0] for _ in range(2)] == [202, 202]
        assert [raw.event_count for raw in world.sink.raw()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"POST /v1/events", b"POST /v1/events/"),
        (b"POST /v1/events", b"POST /v1/events?f=pb"),
        (b"HTTP/1.1\r\n", b"HTTP/1.1\r\nConnection: close\r\n"),
        (b"Content-Type: application/x-protobuf", b"Content-Type: text/plain"),
        (b"HTTP/1.1\r\n", b"HTTP/1.0\r\n"),
    ],
)
async def test_what_is_not_plain_goes_to_the_application(old: bytes, new: bytes) -> None:
    """It is taken all the same, also after a plain request on the same connection."""
    async with gateway_world() as world:
        for first in (b"", request(1)):
            async with connected(world) as client:
                if first:
                    await client.send(first)
                    assert (await client.answer())[0] == 202
                await client.send(request().replace(old, new))
                status, head = await client.answer()
                assert status in (202, 204)
                assert is_from_aiohttp(head)


async def test_a_chunked_body_goes_to_the_application() -> None:
    """Together with a length it is refused, alone it is taken."""
    async with gateway_world() as world:
        body = make_batch(1).SerializeToString()
        chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        plain = HEAD % len(body)
        both = plain.replace(b"Host: a\r\n", b"Host: a\r\nTransfer-Encoding: chunked\r\n")
        for head, expected in (
            (plain.replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked"), 202),
            (both, 400),
        ):
            async with connected(world) as client:
                await client.send(head + chunks)
                assert (await client.answer())[0] == expected
        assert len(world.sink.raw()) == 1


@pytest.mark.parametrize(
    "bad",
    [
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: +5",
        b"Content-Length: 5, 5",
        b"Content-Length: -1",
        b"Content-Length : 5",
        b"Content-Length: 5\r\n folded: x",
        b"content-length: 5\r\nX: a\0b",
    ],
)
async def test_doubtful_lengths_are_refused(bad: bytes) -> None:
    """A length that could be read in two ways is never served."""
    async with gateway_world() as world, connected(world) as client:
        head = HEAD.replace(b"Content-Length: %d", bad.replace(b"%", b"%%"))
        await client.send(head + b"hello")
        assert (await client.answer())[0] == 400
        assert not world.sink.records


async def test_another_head_on_the_same_connection_is_read_anew() -> None:
    """A later request with another key, origin or agent is not taken for the first one."""
    async with gateway_world() as world, connected(world) as client:
        await client.send(request())
        assert (await client.answer())[0] == 202
        await client.send(request().replace(WRITE_KEY.encode(), b"gs_live_" + b"x" * 32))
        assert (await client.answer())[0] == 401
        agent = b"\r\nUser-Agent: other\r\n\r\n"
        data = request()
        at = data.index(b"\r\n\r\n")
        await client.send(data[:at] + agent + data[at + 4 :])
        assert (await client.answer())[0] == 202
        assert world.sink.raw()[-1].user_agent == "other"
        await client.send(data)
        assert (await client.answer())[0] == 202
        assert world.sink.raw()[-1].user_agent == ""


async def test_answers_to_pages_say_what_browsers_ask_for() -> None:
    """An origin that may send is named in the answer, a foreign one is refused without."""
    async with gateway_world() as world, connected(world) as client:
        data = request().replace(b"Host: a\r\n", b"Host: a\r\nOrigin: https://shop.example\r\n")
        await client.send(data)
        status, head = await client.answer()
        assert status == 202
        assert b"Access-Control-Allow-Origin: https://shop.example\r\n" in head
        assert not is_from_aiohttp(head)


async def test_a_head_without_end_goes_to_the_application() -> None:
    """It is refused there, by its bounds."""
    async with gateway_world() as world, connected(world) as client:
        await client.send(b"POST /v1/events HTTP/1.1\r\nX: " + b"a" * (HEAD_BYTES_MAX + 1))
        assert (await client.answer())[0] == 400


async def test_a_body_over_the_bound_is_413() -> None:
    """Told by its length, before it is read."""
    options = HttpOptions(body_bytes_max=100)
    async with gateway_world(http=options) as world, connected(world) as client:
        await client.send(HEAD % 101)
        assert (await client.answer())[0] == 413


async def test_a_slow_body_is_408() -> None:
    """After a while the request is the application's, which gives up on it."""
    options = HttpOptions(request_timeout_s=0.2)
    async with gateway_world(http=options) as world, connected(world) as client:
        await client.send(HEAD % 10 + b"abc")
        assert (await client.answer())[0] == 408


async def test_a_client_that_leaves_does_no_harm() -> None:
    """Its batch is written, and the next client is served."""
    async with gateway_world() as world:
        world.sink.may_acknowledge.clear()
        async with connected(world) as client:
            await client.send(request(3))
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.05)
        world.sink.may_acknowledge.set()
        async with connected(world) as client:
            await client.send(request(1))
            assert (await client.answer())[0] == 202
        assert sorted(raw.event_count for raw in world.sink.raw()) == [1, 3]


async def test_closing_answers_what_is_worked_on() -> None:
    """The last answer says that the connection ends."""
    async with gateway_world() as world, connected(world) as client:
        await client.send(request(1))
        assert (await client.answer())[0] == 202
        world.sink.may_acknowledge.clear()
        await client.send(request(2))
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(world.lanes.close(5.0))
        await asyncio.sleep(0.05)
        world.sink.may_acknowledge.set()
        status, head = await client.answer()
        assert status == 202
        assert b"Connection: close" in head
        await closing
        assert await client.reader.read() == b""
