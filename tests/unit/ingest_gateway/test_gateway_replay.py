"""Replay: whole chunks by POST /v1/replay, and single events inside batches."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest
from backports import zstd

from ingest_gateway.ingest import IngestOptions
from schemas.identifiers import session_uuid
from schemas.v1.events_pb2 import EventType
from schemas.v1.ingest_pb2 import IngestResponse
from schemas.v1.replay_pb2 import ReplayChunk, ReplayCodec
from tests.gateway_world import PROJECT, World, gateway_world, make_batch, make_key, now_ms

RRWEB: list[dict[str, Any]] = [
    {"type": 4, "data": {"href": "https://shop.example"}, "timestamp": 1000},
    {"type": 2, "data": {"node": {"id": 1}}, "timestamp": 1010},
    {"type": 3, "data": {}, "timestamp": 1500},
]


def chunk(**changes: Any) -> dict[str, Any]:
    """A chunk as JSON, packed by gzip."""
    data = base64.b64encode(gzip.compress(json.dumps(RRWEB).encode())).decode()
    usual = {"session_id": "s-1", "recorder_id": "r-1", "chunk_index": 3, "codec": "gzip"}
    return {**usual, "data": data, **changes}


async def post(world: World, document: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    """POST a chunk as JSON."""
    response = await world.post(
        json.dumps(document).encode(),
        "/v1/replay",
        {"Content-Type": "application/json", **headers},
    )
    return response.status, await response.json()


async def test_json_chunk_is_written_with_recomputed_facts(world: World) -> None:
    """Counts, flags and times come from the data; the data stays as it was packed."""
    document = chunk(event_count=99, has_full_snapshot=False)
    status, answer = await post(world, document)
    assert (status, answer["events_accepted"]) == (202, 3)
    [found] = world.sink.chunks()
    assert found.session_id == session_uuid(PROJECT, "s-1")
    assert world.sink.records[0].key == found.session_id.encode()
    assert (found.recorder_id, found.chunk_index) == ("r-1", 3)
    assert (found.event_count, found.has_full_snapshot) == (3, True)
    assert (found.timestamp_start, found.timestamp_end) == (1000, 1500)
    assert found.data == base64.b64decode(document["data"])
    assert found.codec == ReplayCodec.REPLAY_CODEC_GZIP
    assert (found.project_id, found.project_key) == (PROJECT, "")
    assert found.received_at_ms > 0


async def test_chunk_of_plain_events(world: World) -> None:
    """Events may be given as they are."""
    document = {"session_id": "s-1", "seq": 7, "events": RRWEB}
    status, answer = await post(world, document)
    assert (status, answer["events_accepted"]) == (202, 3)
    [found] = world.sink.chunks()
    assert json.loads(found.data) == RRWEB
    assert (found.codec, found.chunk_index) == (ReplayCodec.REPLAY_CODEC_NONE, 7)
    assert found.recorder_id


async def test_protobuf_chunk(world: World) -> None:
    """The same as protobuf, packed by zstd."""
    data = zstd.compress(json.dumps(RRWEB).encode())
    sent = ReplayChunk(session_id="s-1", codec=ReplayCodec.REPLAY_CODEC_ZSTD, data=data)
    response = await world.post(sent.SerializeToString(), "/v1/replay")
    assert response.status == 202
    assert IngestResponse.FromString(await response.read()).events_accepted == 3
    assert world.sink.chunks()[0].data == data


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"session_id": ""}, "missing_field"),
        ({"data": ""}, "missing_field"),
        ({"data": base64.b64encode(b"no gzip").decode()}, "bad_payload"),
        ({"chunk_index": -1}, "bad_payload"),
        ({"codec": "none", "data": base64.b64encode(b'{"a":1}').decode()}, "bad_payload"),
        ({"codec": "none", "data": base64.b64encode(b"[]").decode()}, "bad_payload"),
    ],
)
async def test_bad_chunk_is_counted_and_not_kept(
    world: World, changes: dict[str, Any], reason: str
) -> None:
    """A refused chunk is final for the client; its pictures are not kept."""
    status, answer = await post(world, chunk(event_count=3, **changes))
    assert (status, answer["success"], answer["error"]) == (202, False, reason)
    assert answer["events_rejected"] == 3
    assert not world.sink.chunks()
    [letter] = world.sink.rejected()
    assert (letter.event_count, letter.payload, letter.payload_withheld) == (3, b"", True)


async def test_bad_replay_bodies(world: World) -> None:
    """No chunk: 400. Unpacking to more than 16 MiB, or more than 2000 events: 413."""
    for document in ([], {"session_id": 5}, chunk(data="%%%"), chunk(codec="rar")):
        assert (await post(world, document))[0] == 400
    bomb = base64.b64encode(gzip.compress(b" " * (17 * 1024 * 1024))).decode()
    assert (await post(world, chunk(data=bomb)))[0] == 413
    many = {"session_id": "s", "events": [{"type": 3, "timestamp": 1}] * 2001}
    assert (await post(world, many))[0] == 413
    assert not world.sink.records


async def test_replay_switched_off() -> None:
    """Replay can be off for a project or for the whole deployment."""
    async with gateway_world() as world:
        world.source.add(make_key(settings={"replay": {"enabled": False}}))
        assert (await post(world, chunk()))[1]["error"] == "type_disabled"
    async with gateway_world(ingest=IngestOptions(is_replay_enabled=False)) as world:
        assert (await post(world, chunk()))[1]["error"] == "type_disabled"


async def test_opted_out_chunk(world: World) -> None:
    """A visitor who opted out is not recorded."""
    assert (await post(world, chunk(), **{"Sec-GPC": "1"}))[1]["error"] == "opted_out"
    assert not world.sink.chunks()


def replay_batch(session: str = "s-1") -> Any:
    """A batch with one page view and three replay events."""
    batch = make_batch(1, session)
    started_at_ms = now_ms()
    for place, item in enumerate(RRWEB):
        event = batch.events.add()
        event.CopyFrom(batch.events[0])
        event.event_id = f"replay-{place}"
        event.event_type = EventType.EVENT_TYPE_REPLAY
        event.timestamp.millis = started_at_ms + place
        event.replay.rrweb_type = item["type"]
        event.replay.data = gzip.compress(json.dumps(item).encode())
    return batch


async def test_replay_events_of_a_batch_become_a_chunk(world: World) -> None:
    """They go to the replay topic as one chunk; the others go where they always go."""
    batch = replay_batch()
    answer = await world.send(batch)
    assert (answer.events_accepted, answer.events_rejected) == (4, 0)
    assert world.sink.raw()[0].event_count == 1
    [found] = world.sink.chunks()
    assert json.loads(gzip.decompress(found.data)) == RRWEB
    assert (found.event_count, found.has_full_snapshot) == (3, True)
    assert found.timestamp_end - found.timestamp_start == 2
    await world.send(batch)
    first, second = world.sink.chunks()
    second.received_at_ms = first.received_at_ms
    assert first == second


async def test_unreadable_replay_event_is_refused_alone(world: World) -> None:
    """One damaged replay event does not take its neighbours with it."""
    batch = replay_batch()
    batch.events[2].replay.data = b"no gzip"
    answer = await world.send(batch)
    assert (answer.events_accepted, answer.events_rejected) == (3, 1)
    assert [(one.index, one.reason) for one in answer.rejections] == [(2, "bad_payload")]
    assert world.sink.chunks()[0].event_count == 2
