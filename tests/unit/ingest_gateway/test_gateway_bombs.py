"""Bodies made to cost more than they weigh: unpacked, counted and measured within bounds."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zlib

import msgspec
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from ingest_gateway.decode import DecodeLimits, body_form, decode, open_body
from ingest_gateway.errors import ErrorKind, RefusedError
from ingest_gateway.outgoing import RECORD_EVENT_BYTES_MAX, _fits, _pieces
from ingest_gateway.request import BodyForm
from ingest_gateway.unpack import encoding_name, unpack
from ingest_gateway.wire import TooManyError, WireError, find_spans
from schemas.v1.events_pb2 import Event
from schemas.v1.ingest_pb2 import EventBatch
from tests.gateway_world import World, make_batch

LIMIT = 2 * 1024 * 1024
ZEROS = bytes(96 * 1024 * 1024)


def refusal(body: bytes, encoding: str, limit: int = LIMIT) -> ErrorKind | None:
    """The kind of refusal of a body, None if it is unpacked."""
    try:
        unpack(body, encoding, limit)
    except RefusedError as error:
        return error.kind
    return None


BOMBS = {
    "gzip": gzip.compress(ZEROS, 9),
    "deflate": zlib.compress(ZEROS, 9),
    "zstd": zstd.compress(ZEROS),
}


@pytest.mark.parametrize("encoding", list(BOMBS))
def test_bomb_is_refused_within_its_limit(encoding: str) -> None:
    """96 MiB of zeros are refused after 2 MiB, and no more than a few are ever in memory."""
    tracemalloc.start()
    try:
        assert refusal(BOMBS[encoding], encoding) is ErrorKind.TOO_LARGE
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * LIMIT


@pytest.mark.parametrize("encoding", list(BOMBS))
async def test_bomb_is_answered_413_quickly(world: World, encoding: str) -> None:
    """A bomb that fits the wire is answered within half a second."""
    started_s = time.perf_counter()
    response = await world.post(BOMBS[encoding], headers={"Content-Encoding": encoding})
    assert response.status == 413
    assert time.perf_counter() - started_s < 0.5


async def test_million_empty_events_are_413(world: World) -> None:
    """A million events of no bytes are counted on the wire, not made."""
    body = gzip.compress(b"\x12\x00" * 1_000_000)
    started_s = time.perf_counter()
    response = await world.post(body, headers={"Content-Encoding": "gzip"})
    assert response.status == 413
    assert time.perf_counter() - started_s < 0.5


async def test_million_unknown_fields_are_refused(world: World) -> None:
    """A body of nothing but unknown fields takes no time to refuse."""
    body = gzip.compress(b"\x50\x00" * 1_000_000)
    started_s = time.perf_counter()
    response = await world.post(body, headers={"Content-Encoding": "gzip"})
    assert response.status == 413
    assert time.perf_counter() - started_s < 0.5


def test_many_members_are_refused() -> None:
    """A gzip body of thousands of members is damaged to us; a few are one body."""
    assert unpack(gzip.compress(b"ab") + gzip.compress(b"cd"), "gzip", LIMIT) == b"abcd"
    assert refusal(gzip.compress(b"") * 5000, "gzip") is ErrorKind.INVALID_BODY
    assert refusal(zstd.compress(b"") * 5000, "zstd") is ErrorKind.INVALID_BODY


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(bytes(100), mtime=0)),
        ("deflate", zlib.compress(bytes(100))),
        ("deflate", zlib.compress(bytes(100), wbits=-15)),
        ("zstd", zstd.compress(bytes(100))),
        ("identity", bytes(100)),
    ],
)
def test_limit_is_exact(encoding: str, packed: bytes) -> None:
    """As many bytes as allowed get through, one more does not."""
    assert unpack(packed, encoding, 100) == bytes(100)
    assert refusal(packed, encoding, 99) is ErrorKind.TOO_LARGE


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
@given(body=st.binary(max_size=200))
def test_garbage_is_refused_and_never_raises(encoding: str, body: bytes) -> None:
    """Whatever the bytes are, they are unpacked or refused."""
    assert refusal(body, encoding) in (None, ErrorKind.INVALID_BODY)


def test_cut_off_bodies_are_damaged() -> None:
    """Half a packed body is not taken for a whole one."""
    for encoding, packed in BOMBS.items():
        assert refusal(packed[:50], encoding, 2**40) is ErrorKind.INVALID_BODY


def test_lists_of_encodings_are_refused() -> None:
    """Only one packing at a time; names count in any case."""
    assert encoding_name("GZIP ") == "gzip"
    for text in ("gzip, gzip", "br", "compress"):
        with pytest.raises(RefusedError):
            encoding_name(text)


@given(count=st.integers(0, 40), junk=st.binary(max_size=3))
def test_spans_are_where_the_events_are(count: int, junk: bytes) -> None:
    """Each span holds the bytes of the event at its place."""
    batch = make_batch(count, "s") if count else EventBatch(sent_at=1)
    batch.sdk_version = junk.hex()
    body = batch.SerializeToString()
    spans = find_spans(body, 2, 40)
    assert [body[start:end] for _, start, end in spans] == [
        event.SerializeToString() for event in batch.events
    ]
    if count:
        with pytest.raises(TooManyError):
            find_spans(body, 2, count - 1)


@given(st.binary(max_size=300))
def test_scan_agrees_with_the_parser(body: bytes) -> None:
    """What the parser reads, the scan finds; the scan never raises anything of its own."""
    try:
        spans = find_spans(body, 2, 1000)
    except WireError:
        return
    try:
        batch = EventBatch.FromString(body)
    except Exception:  # Damaged inside: the scan does not look there.
        return
    assert len(spans) <= len(batch.events)


@pytest.mark.parametrize(
    "body", [b"\x13", b"\x14", b"\x12\x05a", b"\x12", b"\x80" * 11, b"\x09\x00", b"\x17"]
)
def test_damaged_messages_are_told(body: bytes) -> None:
    """Open groups, fields past the end and unknown kinds are damage."""
    with pytest.raises(WireError):
        find_spans(body, 2, 10)


def test_groups_are_passed_over() -> None:
    """What looks like an event inside an unknown group is none."""
    body = b"\x53\x12\x00\x54" + b"\x12\x00"
    assert len(find_spans(body, 2, 10)) == 1


def test_large_replay_event_is_read_and_large_others_are_not() -> None:
    """Up to 1 MiB with a replay payload, up to 64 KiB without."""
    batch = make_batch(3)
    batch.events[0].replay.data = bytes(900_000)
    batch.events[1].page.title = "x" * 70_000
    decoded = decode(batch.SerializeToString(), BodyForm.PROTOBUF, DecodeLimits())
    kinds = [type(item).__name__ for item in decoded.items]
    assert kinds == ["Event", "Faulty", "Event"]
    batch.events[0].replay.data = bytes(1024 * 1024)
    decoded = decode(batch.SerializeToString(), BodyForm.PROTOBUF, DecodeLimits())
    assert [type(item).__name__ for item in decoded.items] == ["Faulty", "Faulty", "Event"]
    assert decoded.sent_at_ms == batch.sent_at


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (b'{"events":[]}', BodyForm.JSON),
        (b'\n {"events":[]}', BodyForm.JSON),
        (b"\xef\xbb\xbf{}", BodyForm.JSON),
        (b"\x0a\x28gs_live_", BodyForm.PROTOBUF),
        (b"\x12\x00", BodyForm.PROTOBUF),
        (b"\x18\x01", BodyForm.PROTOBUF),
        (b"", BodyForm.PROTOBUF),
    ],
)
def test_first_byte_tells_the_form(body: bytes, form: BodyForm) -> None:
    """A batch and a JSON text never begin alike."""
    assert body_form(body) is form


def shared_bomb(custom_bytes: int, events: int) -> bytes:
    """A JSON batch whose own values are copied into each of its events."""
    event = {"session_id": "s", "event_type": "page_hidden", "timestamp": 1, "page": {"path": "/"}}
    return msgspec.json.encode({"custom": {"x": "y" * custom_bytes}, "events": [event] * events})


def test_values_of_a_batch_are_not_copied_without_bound() -> None:
    """A megabyte that each of 200 events would carry is refused before it is copied."""
    body = gzip.compress(shared_bomb(1_000_000, 200))
    assert len(body) < 2_000
    tracemalloc.start()
    try:
        with pytest.raises(RefusedError) as raised:
            decode(*open_body(body, "gzip", BodyForm.JSON, DecodeLimits()), DecodeLimits())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert raised.value.kind is ErrorKind.TOO_LARGE
    assert peak < 20_000_000
    assert len(decode(shared_bomb(1_000, 200), BodyForm.JSON, DecodeLimits()).items) == 200


@pytest.mark.parametrize("kind", ["refused", "accepted"])
async def test_version_of_a_batch_is_not_copied_without_bound(world: World, kind: str) -> None:
    """A megabyte of `sdk_version` does not stand in the records of 100 sessions or dead letters."""
    batch = EventBatch(sdk_version="v" * 1_000_000)
    for _ in range(100):
        batch.events.append(make_batch(1).events[0] if kind == "accepted" else Event(event_type=10))
    body = gzip.compress(batch.SerializeToString())
    tracemalloc.start()
    try:
        response = await world.post(body, headers={"Content-Encoding": "gzip"})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert response.status == 202
    assert peak < 20_000_000
    assert len(world.sink.records) == 100
    assert {one.sdk_version for one in (*world.sink.raw(), *world.sink.rejected())} == {"v" * 100}


@pytest.mark.parametrize("text", ["4111 1111 1111 1111", "v" * 101, "1\0.0"])
async def test_version_of_a_batch_is_cut_and_scrubbed(world: World, text: str) -> None:
    """Also where the bytes of a batch could go on as they came."""
    batch = make_batch(2)
    batch.sdk_version = text
    await world.send(batch)
    (raw,) = world.sink.raw()
    assert raw.sdk_version in ("[redacted:card]", "v" * 100, "1.0")
    assert len(raw.events) == 2


def test_a_large_batch_goes_out_in_records_that_fit() -> None:
    """More than a record holds becomes several records, nothing left out, in order."""
    events = [Event(event_id=f"e{i}", custom={"k": "v" * 9_000}) for i in range(400)]
    pieces = list(_pieces(events))
    assert [event for piece in pieces for event in piece] == events
    assert len(pieces) == 2
    for piece in pieces:
        assert sum(event.ByteSize() for event in piece) <= RECORD_EVENT_BYTES_MAX
    assert not _fits(events)
    assert _fits(events[:20])


async def test_texts_that_take_long_to_scrub_are_masked_unread(world: World) -> None:
    """Two megabytes of digits in twenty kilobytes: what is not read is not stored, and counted."""
    batch = make_batch(40)
    for number, event in enumerate(batch.events):
        for place in range(50):
            event.custom[str(place)] = "1 7 8 " * 160 + f"{place} {number}"
    body = gzip.compress(batch.SerializeToString())
    assert len(body) < 64 * 1024
    response = await world.post(body, headers={"Content-Encoding": "gzip"})
    assert response.status == 202
    events = [event for raw in world.sink.raw() for event in raw.events]
    kept = [value for event in events for value in event.custom.values()]
    assert len(kept) == 40 * 50
    assert kept.count("[redacted]") == world.metrics.texts_unread > 1_500
    assert all(value == "[redacted]" or value.startswith("1 7 8 ") for value in kept)
