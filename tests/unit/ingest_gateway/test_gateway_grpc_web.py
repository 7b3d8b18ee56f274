"""gRPC-Web: frames in, frames out, the verdict in the trailer."""

from __future__ import annotations

import base64
import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_gateway.errors import RefusedError
from ingest_gateway.grpc_web import read_call, write_answer
from schemas.v1.ingest_pb2 import IngestResponse
from tests.gateway_world import World, make_batch, make_key

PATH = "/gosight.IngestService/SendBatch"
BINARY = "application/grpc-web+proto"
TEXT = "application/grpc-web-text"


def frame(payload: bytes, flag: int = 0) -> bytes:
    """One frame."""
    return bytes((flag,)) + len(payload).to_bytes(4) + payload


def read_frames(body: bytes) -> tuple[IngestResponse | None, dict[str, str]]:
    """The message, if there is one, and the trailers of an answer."""
    message = None
    trailers = {}
    while body:
        flag, end = body[0], 5 + int.from_bytes(body[1:5])
        payload, body = body[5:end], body[end:]
        if flag & 0x80:
            lines = payload.decode().split("\r\n")
            trailers = dict(line.split(":", 1) for line in lines if line)
        else:
            message = IngestResponse.FromString(payload)
    return message, trailers


async def call(
    world: World, body: bytes, content_type: str = BINARY, **headers: str
) -> tuple[IngestResponse | None, dict[str, str]]:
    """POST a framed body; HTTP says 200 whatever happens."""
    response = await world.post(body, PATH, {"Content-Type": content_type, **headers})
    assert response.status == 200
    assert response.headers["Content-Type"] == content_type
    content = await response.read()
    return read_frames(base64.b64decode(content) if "text" in content_type else content)


@pytest.mark.parametrize("content_type", [BINARY, "application/grpc-web"])
async def test_framed_batch(world: World, content_type: str) -> None:
    """A frame is answered by a message frame and status 0."""
    body = frame(make_batch(3).SerializeToString())
    message, trailers = await call(world, body, content_type)
    assert message is not None
    assert (message.success, message.events_accepted) == (True, 3)
    assert trailers == {"grpc-status": "0"}
    assert world.sink.raw()[0].event_count == 3


@pytest.mark.parametrize("content_type", [TEXT, TEXT + "+proto"])
async def test_base64_form(world: World, content_type: str) -> None:
    """The text form is base64 both ways."""
    body = base64.b64encode(frame(make_batch(2).SerializeToString()))
    message, trailers = await call(world, body, content_type)
    assert message is not None
    assert message.events_accepted == 2
    assert trailers["grpc-status"] == "0"


async def test_packed_frame(world: World) -> None:
    """A frame with the flag of compression is unpacked within the usual limits."""
    packed = gzip.compress(make_batch(2).SerializeToString())
    message, _ = await call(world, frame(packed, 1), **{"grpc-encoding": "gzip"})
    assert message is not None
    assert message.events_accepted == 2
    bomb = frame(gzip.compress(bytes(64 * 1024 * 1024)), 1)
    _, trailers = await call(world, bomb, **{"grpc-encoding": "gzip"})
    assert trailers == {"grpc-status": "8", "grpc-message": "TOO_LARGE"}


async def test_bare_message(world: World) -> None:
    """A message without a frame, as a widespread SDK sends it, is taken, also packed as in HTTP."""
    body = make_batch(2).SerializeToString()
    message, _ = await call(world, body)
    assert message is not None
    assert message.events_accepted == 2
    message, _ = await call(world, gzip.compress(body), **{"Content-Encoding": "gzip"})
    assert message is not None
    assert message.events_accepted == 2


async def test_refused_events_are_status_0(world: World) -> None:
    """Refused events are counted in the message, not an error of the call."""
    batch = make_batch(1)
    batch.events[0].session_id = ""
    message, trailers = await call(world, frame(batch.SerializeToString()))
    assert message is not None
    assert (message.success, message.error) == (False, "missing_field")
    assert trailers["grpc-status"] == "0"


@pytest.mark.parametrize(
    ("case", "status", "text"),
    [
        ("garbage", "3", "INVALID_BODY"),
        ("bad key", "16", "INVALID_KEY"),
        ("foreign origin", "7", "ORIGIN_NOT_ALLOWED"),
        ("501 events", "8", "TOO_LARGE"),
        ("kafka away", "14", "UNAVAILABLE"),
        ("unknown packing", "3", "UNSUPPORTED_MEDIA_TYPE"),
        ("rate", "8", "RATE_LIMITED"),
    ],
)
async def test_errors_are_in_the_trailer(world: World, case: str, status: str, text: str) -> None:
    """Each error has its gRPC status; there is no message frame."""
    body = frame(make_batch(1).SerializeToString())
    headers: dict[str, str] = {}
    if case == "garbage":
        body = frame(b"\xff\xff")
    elif case == "bad key":
        headers = {"X-GoSight-Key": "bad"}
    elif case == "foreign origin":
        world.source.add(make_key(allowed_domains=["shop.example"]))
        headers = {"Origin": "https://evil.example"}
    elif case == "501 events":
        body = frame(b"\x12\x00" * 501)
    elif case == "kafka away":
        world.sink.is_failing = True
    elif case == "unknown packing":
        body, headers = frame(b"abc", 1), {"grpc-encoding": "br"}
    elif case == "rate":
        world.source.add(make_key(rate_limit_per_s=1, burst=1))
        await call(world, body)
    message, trailers = await call(world, body, **headers)
    assert message is None
    assert trailers == {"grpc-status": status, "grpc-message": text}


async def test_pages_may_read_the_verdict(world: World) -> None:
    """CORS exposes what a gRPC-Web client looks at."""
    response = await world.post(
        frame(make_batch(1).SerializeToString()),
        PATH,
        {"Content-Type": BINARY, "Origin": "https://shop.example"},
    )
    assert "grpc-status" in response.headers["Access-Control-Expose-Headers"]
    assert response.headers["Access-Control-Allow-Origin"] == "https://shop.example"


async def test_other_content_types_are_415(world: World) -> None:
    """The path speaks gRPC-Web only."""
    assert (await world.post(b"", PATH, {"Content-Type": "application/json"})).status == 415


@given(message=st.binary(max_size=100), is_text=st.booleans())
def test_frames_read_back(message: bytes, is_text: bool) -> None:
    """What is framed is read as it was, alone or with a trailer frame behind it."""
    for body in (frame(message), frame(message) + frame(b"x:y\r\n", 0x80)):
        sent = base64.b64encode(body) if is_text else body
        call = read_call(sent, is_text=is_text, grpc_encoding="", http_encoding="")
        assert (call.message, call.encoding) == (message, "identity")


@given(body=st.binary(max_size=60), is_text=st.booleans())
def test_any_body_is_read_or_refused(body: bytes, is_text: bool) -> None:
    """No body raises anything but a refusal, and what is read is part of the body."""
    try:
        call = read_call(body, is_text=is_text, grpc_encoding="gzip", http_encoding="")
    except RefusedError:
        return
    assert len(call.message) <= len(body)


def test_answer_without_message_has_trailers_only() -> None:
    """An error is one frame."""
    assert write_answer(None, 3, "NO", is_text=False) == frame(
        b"grpc-status:3\r\ngrpc-message:NO\r\n", 0x80
    )
