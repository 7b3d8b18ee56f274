"""gRPC on twins: the same answers by status code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import pytest

from ingest_gateway.grpc_server import GrpcHandlers, GrpcOptions, start_grpc
from schemas.v1.ingest_pb2 import EventBatch, IngestResponse
from schemas.v1.replay_pb2 import ReplayChunk, ReplayCodec
from tests.gateway_world import READ_KEY, WRITE_KEY, World, make_batch, make_key

SERVICE = "/gosight.IngestService/"
KEY = (("x-gosight-key", WRITE_KEY),)


@dataclass
class Client:
    """A channel to the gateway's gRPC port."""

    channel: Any

    async def send_batch(self, body: bytes, metadata: Any = KEY, **options: Any) -> IngestResponse:
        """SendBatch with these bytes."""
        call = self.channel.unary_unary(SERVICE + "SendBatch")
        return IngestResponse.FromString(await call(body, metadata=metadata, timeout=10, **options))

    async def stream(self, method: str, bodies: list[bytes], metadata: Any = KEY) -> IngestResponse:
        """A client stream of these messages."""
        call = self.channel.stream_unary(SERVICE + method)
        answer = await call(iter(bodies), metadata=metadata, timeout=10)
        return IngestResponse.FromString(answer)


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    """The twin gateway with its gRPC port."""
    options = GrpcOptions()
    handlers = GrpcHandlers(world.ingestor, world.metrics, options)
    server, port = await start_grpc(handlers, "127.0.0.1:0", options)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Client(channel)
    finally:
        await server.stop(None)


async def test_unary_batch(world: World, client: Client) -> None:
    """SendBatch is answered with the counts; peer and user agent come from the connection."""
    batch = make_batch(3)
    answer = await client.send_batch(batch.SerializeToString())
    assert (answer.success, answer.events_accepted) == (True, 3)
    [raw] = world.sink.raw()
    assert raw.client_ip == "127.0.0.1"
    assert raw.user_agent.startswith("grpc-python")
    assert list(raw.events) == list(batch.events)


async def test_key_in_the_batch(world: World, client: Client) -> None:
    """The key may be in the message instead of the metadata."""
    batch = make_batch(1)
    batch.project_key = WRITE_KEY
    answer = await client.send_batch(batch.SerializeToString(), metadata=())
    assert answer.success
    assert WRITE_KEY.encode() not in world.sink.records[0].value


async def test_stream_is_answered_with_totals(world: World, client: Client) -> None:
    """SendEvents adds up; places of refused events count through the stream."""
    second = make_batch(3)
    second.events[1].session_id = ""
    bodies = [make_batch(2).SerializeToString(), second.SerializeToString()]
    answer = await client.stream("SendEvents", bodies)
    assert (answer.success, answer.events_accepted, answer.events_rejected) == (False, 4, 1)
    assert [(one.index, one.reason) for one in answer.rejections] == [(3, "missing_field")]
    assert [raw.event_count for raw in world.sink.raw()] == [2, 2]


async def test_replay_stream(world: World, client: Client) -> None:
    """SendReplay takes chunks."""
    data = b'[{"type":2,"timestamp":1}]'
    chunk = ReplayChunk(session_id="s", codec=ReplayCodec.REPLAY_CODEC_NONE, data=data)
    answer = await client.stream("SendReplay", [chunk.SerializeToString()] * 2)
    assert answer.events_accepted == 2
    assert len(world.sink.chunks()) == 2


@pytest.mark.parametrize(
    ("case", "code", "text"),
    [
        ("garbage", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_BODY"),
        ("empty", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_BODY"),
        ("no key", grpc.StatusCode.UNAUTHENTICATED, "INVALID_KEY"),
        ("read key", grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN"),
        ("501 events", grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE"),
        ("300 KB", grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE"),
        ("rate", grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED"),
        ("kafka away", grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE"),
        ("keys away", grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE"),
    ],
)
async def test_errors_by_status(
    world: World, client: Client, case: str, code: grpc.StatusCode, text: str
) -> None:
    """Each error has its status code."""
    body, metadata = make_batch(1).SerializeToString(), KEY
    if case == "garbage":
        body = b"\xff\xff"
    elif case == "empty":
        body = EventBatch(sent_at=1).SerializeToString()
    elif case == "no key":
        metadata = ()
    elif case == "read key":
        metadata = (("x-gosight-key", READ_KEY),)
    elif case == "501 events":
        body = b"\x12\x00" * 501
    elif case == "300 KB":
        body = b"\x12\x00" * 150_000
    elif case == "rate":
        world.source.add(make_key(rate_limit_per_s=1, burst=1))
        await client.send_batch(body)
    elif case == "kafka away":
        world.sink.is_failing = True
    elif case == "keys away":
        world.source.is_away = True
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await client.send_batch(body, metadata)
    assert (raised.value.code(), raised.value.details()) == (code, text)
    if code is grpc.StatusCode.UNAVAILABLE or case == "rate":
        assert int(dict(raised.value.trailing_metadata())["retry-after"]) >= 1


async def test_packed_messages_are_refused_unseen(world: World, client: Client) -> None:
    """The library would unpack a bomb whole: packed messages are not accepted at all."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await client.send_batch(bytes(50_000_000), compression=grpc.Compression.Gzip)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert not world.sink.records


async def test_empty_stream_is_invalid(client: Client) -> None:
    """A stream without any batch is no request."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await client.stream("SendEvents", [])
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_stream_ends_at_the_first_error(world: World, client: Client) -> None:
    """What came before an error stays written; the call fails with the error."""
    bodies = [make_batch(1).SerializeToString(), b"\xff", make_batch(1).SerializeToString()]
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await client.stream("SendEvents", bodies)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(world.sink.raw()) == 1


async def test_a_silent_stream_gives_its_place_back(world: World) -> None:
    """A client that opens a stream and says nothing is ended, so that others are served."""
    options = GrpcOptions(request_timeout_s=0.2, streams_max=1)
    handlers = GrpcHandlers(world.ingestor, world.metrics, options)
    server, port = await start_grpc(handlers, "127.0.0.1:0", options)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            silent = channel.stream_unary(SERVICE + "SendEvents")(timeout=10)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await silent
            assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            assert raised.value.details() == "TIMEOUT"
            body = make_batch(1).SerializeToString()
            assert (await Client(channel).send_batch(body)).events_accepted == 1
    finally:
        await server.stop(None)
