"""Good inputs to start from: recorded traffic, the examples of every event type, replay chunks.

The same in every run but for the times of events, which must be recent to be accepted.
"""

from __future__ import annotations

import base64
import gzip
import json
import time
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from backports import zstd

from schemas.json_batch import batch_from_json
from schemas.v1.events_pb2 import Event, EventType
from schemas.v1.ingest_pb2 import EventBatch
from schemas.v1.replay_pb2 import ReplayChunk, ReplayCodec
from tests.factories import make_uuid
from tests.gateway_world import make_batch, make_error

ROOT = Path(__file__).resolve().parents[2]
RECORDED_MAX = 40
BATCH_BYTES_MAX = 24 * 1024
RRWEB: list[dict[str, Any]] = [
    {
        "type": 4,
        "data": {"href": "https://shop.example", "width": 800},
        "timestamp": 1_795_255_200_000,
    },
    {
        "type": 2,
        "data": {"node": {"id": 1, "childNodes": [{"id": 2}]}},
        "timestamp": 1_795_255_200_010,
    },
    {
        "type": 3,
        "data": {"source": 1, "positions": [{"x": 1, "y": 2}]},
        "timestamp": 1_795_255_200_500,
    },
]


@cache
def json_batches() -> tuple[Any, ...]:
    """Batches as JSON values."""
    found: list[Any] = []
    with gzip.open(ROOT / "samples/traffic/batches.ndjson.gz", "rt") as lines:
        for line in lines:
            batch = json.loads(line)["batch"]
            if len(line) < BATCH_BYTES_MAX:
                found.append({**batch, "project_key": ""})
            if len(found) == RECORDED_MAX:
                break
    now_ms = time.time_ns() // 1_000_000
    for path in sorted((ROOT / "schemas/examples/events.raw").glob("*/*.json")):
        document = json.loads(path.read_text())
        event = document.get("event", document)
        if isinstance(event, dict):
            event = {**event, "timestamp": now_ms} if path.parent.name == "valid" else event
        found.append({"sent_at": now_ms, "sdk_version": "1.0.0", "events": [event]})
    return tuple(found)


@cache
def batches() -> tuple[bytes, ...]:
    """Batches as protobuf."""
    chance = Random(0)
    found: list[bytes] = []
    for batch in (*map(make_batch, (1, 3, 10, 60)), EventBatch(events=[make_error()])):
        for event in batch.events:
            event.event_id, event.session_id = make_uuid(chance), f"s-{len(found)}"
        found.append(batch.SerializeToString())
    replay = Event(event_id="r-1", session_id="s-1", event_type=EventType.EVENT_TYPE_REPLAY)
    replay.timestamp.millis = time.time_ns() // 1_000_000
    replay.page.url = "https://shop.example/"
    replay.replay.data = gzip.compress(json.dumps(RRWEB[0]).encode(), mtime=0)
    found.append(EventBatch(events=[replay, replay]).SerializeToString())
    for document in json_batches():
        read = batch_from_json(json.dumps(document).encode())
        events = [event for event in read.events if isinstance(event, Event)]
        if events:
            batch = EventBatch(sent_at=read.sent_at, sdk_version="1.0.0", events=events)
            found.append(batch.SerializeToString())
    return tuple(found)


@cache
def json_chunks() -> tuple[Any, ...]:
    """Replay chunks as JSON values."""
    plain = json.dumps(RRWEB).encode()
    usual = {"session_id": "s-1", "recorder_id": "r-1", "chunk_index": 3, "sent_at": 1}
    return (
        {
            **usual,
            "codec": "gzip",
            "data": base64.b64encode(gzip.compress(plain, mtime=0)).decode(),
        },
        {**usual, "codec": "zstd", "data": base64.b64encode(zstd.compress(plain)).decode()},
        {**usual, "codec": "none", "data": base64.b64encode(plain).decode()},
        {**usual, "seq": 1, "events": RRWEB},
    )


@cache
def chunks() -> tuple[bytes, ...]:
    """Replay chunks as protobuf."""
    plain = json.dumps(RRWEB).encode()
    packed = {
        ReplayCodec.REPLAY_CODEC_UNSPECIFIED: gzip.compress(plain, mtime=0),
        ReplayCodec.REPLAY_CODEC_NONE: plain,
        ReplayCodec.REPLAY_CODEC_GZIP: gzip.compress(plain, mtime=0),
        ReplayCodec.REPLAY_CODEC_ZSTD: zstd.compress(plain),
    }
    return tuple(
        ReplayChunk(
            session_id="s-1", recorder_id="r-1", chunk_index=3, codec=codec, data=data
        ).SerializeToString()
        for codec, data in packed.items()
    )
