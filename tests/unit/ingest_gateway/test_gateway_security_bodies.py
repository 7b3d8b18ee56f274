"""Bodies that are small on the wire and would be large in memory; each was found by fuzzing."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from backports import zstd

from ingest_gateway.errors import RefusedError
from ingest_gateway.judge import Project
from ingest_gateway.replay_chunk import read_rrweb
from ingest_gateway.screen import Screen
from ingest_gateway.unpack import unpack, unpack_large
from schemas.v1.events_pb2 import EventType
from schemas.v1.ingest_pb2 import EventBatch
from schemas.v1.replay_pb2 import ReplayChunk, ReplayCodec
from tests.gateway_world import World, make_batch, make_key, now_ms

MIB = 1024 * 1024
BODY = 2 * MIB - 200
GRPC_WEB = {"Content-Type": "application/grpc-web+proto"}
GRPC_WEB_PATH = "/gosight.IngestService/SendBatch"
ANSWER_S = 0.5


@contextmanager
def memory_below(limit_bytes: int) -> Iterator[None]:
    """What Python takes inside stays below a bound."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit_bytes, f"{peak / MIB:.1f} MiB"


def filled(unit: bytes, size: int = BODY) -> bytes:
    """A unit again and again."""
    return unit * (size // len(unit))


@pytest.mark.parametrize("unit", [b"{},", b"[],", b'"",', b"1.5,", b'{"a":{}},'])
@pytest.mark.parametrize("head", [b'{"events":[', b'{"events":[{}],"x":['])
async def test_many_tiny_json_values_are_413(world: World, unit: bytes, head: bytes) -> None:
    """Two kilobytes that unpack to 700,000 values are refused before they are made."""
    body = gzip.compress(head + filled(unit) + b"0]}")
    assert len(body) < 5_000
    with memory_below(20 * MIB):
        response = await world.post(
            body, headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}
        )
    assert response.status == 413
    assert world.sink.records == []


async def test_large_honest_json_is_taken(world: World) -> None:
    """500 full events of 60 values are far below the bound of values."""
    event = {
        "session_id": "s",
        "event_type": "custom",
        "timestamp": now_ms(),
        "page": {"path": "/cart", "title": 'with "quotes", commas, {braces}'},
        "payload": {"name": "added", "properties": {f"name_{i}": f"value {i}" for i in range(50)}},
    }
    response = await world.session.post(
        world.url + "/v1/events",
        json={"events": [event] * 100},
        headers={"X-GoSight-Key": world.headers["X-GoSight-Key"]},
    )
    assert response.status == 202, await response.text()


def make_chunk(plain: bytes, codec: ReplayCodec = ReplayCodec.REPLAY_CODEC_GZIP) -> bytes:
    """A chunk with this data, packed as its codec says."""
    pack = zstd.compress if codec == ReplayCodec.REPLAY_CODEC_ZSTD else gzip.compress
    return ReplayChunk(session_id="s-1", codec=codec, data=pack(plain)).SerializeToString()


@pytest.mark.parametrize("codec", [ReplayCodec.REPLAY_CODEC_GZIP, ReplayCodec.REPLAY_CODEC_ZSTD])
@pytest.mark.parametrize(
    ("unit", "status"), [(b'{"type":1},', 413), (b'{"type":1,"d":[]},', 413), (b"1,", 202)]
)
async def test_million_rrweb_events_are_refused(
    world: World, codec: ReplayCodec, unit: bytes, status: int
) -> None:
    """33 kilobytes that hold 1.5 million events are refused after 2,000 of them."""
    plain = b"[" + filled(unit, 16 * MIB - 64)[:-1] + b"]"
    body = make_chunk(plain, codec)
    with memory_below(20 * MIB):
        response = await world.post(body, "/v1/replay")
    assert response.status == status
    assert world.sink.chunks() == []


def test_exactly_as_many_rrweb_events_as_allowed() -> None:
    """2,000 events are read, 2,001 are not, and the count begins anew each time."""
    for _ in range(2):
        assert len(read_rrweb(b"[" + b",".join([b'{"type":3}'] * 2000) + b"]", 2000)) == 2000
        with pytest.raises(RefusedError):
            read_rrweb(b"[" + b",".join([b'{"type":3}'] * 2001) + b"]", 2000)
    with pytest.raises(ValueError, match="int"):
        read_rrweb(b'[{"type":"x"}]', 2000)


PACK = {
    "gzip": gzip.compress,
    "zstd": zstd.compress,
    "deflate": zlib.compress,
}


@pytest.mark.parametrize("encoding", list(PACK))
def test_large_bomb_takes_no_more_than_its_limit(encoding: str) -> None:
    """A bomb against the largest limit, 16 MiB, is refused after one block more than it."""
    bomb = PACK[encoding](bytes(100 * MIB))
    for open_it in (unpack, unpack_large):
        with memory_below(18 * MIB), pytest.raises(RefusedError):
            open_it(bomb, encoding, 16 * MIB)


@pytest.mark.parametrize("encoding", list(PACK))
def test_large_chunk_is_in_memory_once(encoding: str) -> None:
    """What is as large as allowed is unpacked without a second copy."""
    packed = PACK[encoding](bytes(16 * MIB))
    with memory_below(20 * MIB):
        assert len(unpack_large(packed, encoding, 16 * MIB)) == 16 * MIB


async def test_names_inside_a_replay_event_are_not_made(world: World) -> None:
    """A replay event of 60,000 different names is read to its end and nothing of it is made."""
    batch = make_batch(1, kind=EventType.EVENT_TYPE_REPLAY)
    names = b",".join(b'"%x":1' % number for number in range(60_000))
    batch.events[0].ClearField("page_view")
    batch.events[0].replay.data = gzip.compress(b'{"type":3,' + names + b"}", 9)
    with memory_below(8 * MIB):
        response = await world.post(batch.SerializeToString())
    assert response.status == 202
    assert world.sink.chunks()[0].event_count == 1


@pytest.mark.parametrize("outer", list(PACK))
@pytest.mark.parametrize("inner", list(PACK))
async def test_nested_bombs_are_4xx(world: World, outer: str, inner: str) -> None:
    """A bomb inside a bomb is unpacked once; what comes out is no batch."""
    body = PACK[outer](PACK[inner](bytes(64 * MIB)) * 3)
    with memory_below(20 * MIB):
        started_s = time.perf_counter()
        response = await world.post(body, headers={"Content-Encoding": outer})
    assert response.status in (400, 413)
    assert time.perf_counter() - started_s < ANSWER_S
    assert world.sink.records == []


@pytest.mark.parametrize("outer", ["gzip", "zstd"])
async def test_chunk_bomb_in_a_packed_body_is_413(world: World, outer: str) -> None:
    """A chunk whose data is a bomb, packed once more by HTTP, is refused."""
    body = PACK[outer](make_chunk(bytes(100 * MIB)))
    with memory_below(20 * MIB):
        response = await world.post(body, "/v1/replay", {"Content-Encoding": outer})
    assert response.status == 413


def frame(payload: bytes, flag: int = 0) -> bytes:
    """One frame of gRPC-Web."""
    return bytes((flag,)) + len(payload).to_bytes(4) + payload


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "deflate", "br"])
async def test_grpc_web_frames_packed_by_http_are_told_so(world: World, encoding: str) -> None:
    """Frames inside a packed body, or with a header that does not hold, are refused clearly."""
    framed = frame(make_batch(2).SerializeToString())
    bodies = [framed]
    if encoding in PACK:
        bodies += [PACK[encoding](framed), PACK[encoding](frame(gzip.compress(b"x"), 1))]
    for body in bodies:
        response = await world.post(body, GRPC_WEB_PATH, {**GRPC_WEB, "Content-Encoding": encoding})
        assert b"grpc-message:UNSUPPORTED_MEDIA_TYPE\r\n" in await response.read()
    assert world.sink.records == []


async def test_grpc_web_bare_message_packed_by_http_is_taken(world: World) -> None:
    """A bare message, as a widespread SDK sends it, may be packed by HTTP."""
    body = make_batch(2).SerializeToString()
    for encoding, pack in PACK.items():
        headers = {**GRPC_WEB, "Content-Encoding": encoding}
        response = await world.post(pack(body), GRPC_WEB_PATH, headers)
        assert b"grpc-status:0\r\n" in await response.read()
    assert len(world.sink.raw()) == len(PACK)


@pytest.mark.parametrize("levels", [33, 1_000, 300_000])
async def test_deep_json_is_400(world: World, levels: int) -> None:
    """Arrays and objects nested without end are refused at once, closed or left open."""
    for opened, closed in ((b"[", b"]"), (b'{"a":', b"}")):
        for body in (
            b'{"events":[' + opened * levels + b"1" + closed * levels + b"]}",
            opened * levels,
        ):
            started_s = time.perf_counter()
            response = await world.post(
                gzip.compress(body),
                headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
            )
            assert response.status in (400, 413)
            assert time.perf_counter() - started_s < ANSWER_S


async def test_deep_protobuf_is_400(world: World) -> None:
    """Messages and groups nested without end are refused at once."""
    nested = b""
    for _ in range(2_000):
        nested = b"\x12" + _length(nested) + nested
    for body in (nested, b"\x13" * 100_000 + b"\x14" * 100_000, b"\x13" * 100_000):
        response = await world.post(body)
        assert response.status in (202, 400, 413)
    assert world.sink.raw() == []
    with pytest.raises(Exception, match="arsing"):
        EventBatch.FromString(b"\x13" * 100_000)


def _length(payload: bytes) -> bytes:
    size, out = len(payload), bytearray()
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes((*out, size))


def test_values_known_by_their_bytes_are_bounded() -> None:
    """However many values of however many kinds clients send, what is remembered stays small."""
    project = Project.of(make_key())
    screen = Screen(project.settings.privacy)
    [event] = make_batch(1).events
    event.ClearField("page_view")
    kinds = [(number, member) for number, member in project.payloads.items() if member]
    with memory_below(20 * MIB):
        for number, member in kinds:
            texts = [
                field.name
                for field in getattr(event, member).DESCRIPTOR.fields
                if field.type == field.TYPE_STRING and not field.is_repeated
            ]
            for text in texts[:1]:
                for value in range(2_000):
                    event.event_type = number
                    setattr(getattr(event, member), text, f"{value} " + "n" * 900)
                    body = EventBatch(sent_at=now_ms(), events=[event]).SerializeToString()
                    screen.look(body, project.payloads, now_ms(), 500)
    assert len(kinds) > 20
