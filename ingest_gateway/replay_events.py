"""Replay events that came inside a batch, gathered into chunks.

In: events of type 120, each with one packed rrweb event. Out: one `ReplayChunk` per session and
page, holding them as one gzip-packed JSON array in the order of the batch. Pure.

The index of such a chunk is its start in tenths of a second, so that chunks of one page sort by
time and a repeated request gives the same index. Source: events.md, section 9, decision 8.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec

from connectors.kafka_log import OutRecord
from ingest_gateway.errors import RefusedError
from ingest_gateway.judge import Project, Refusal
from ingest_gateway.outgoing import Facts
from ingest_gateway.replay_chunk import (
    FULL_SNAPSHOT,
    REPLAY_DATA_BYTES_MAX,
    chunk_record,
    recorder_uuid,
)
from ingest_gateway.unpack import unpack
from schemas.identifiers import session_uuid
from schemas.reasons import RejectReason
from schemas.v1.events_pb2 import Event
from schemas.v1.replay_pb2 import ReplayChunk, ReplayCodec

GZIP_LEVEL = 1  # The replay flow packs again; here it only must not swell.
INDEX_STEP_MS = 100
INDEX_MODULUS = 2**31


def replay_records(
    events: Sequence[tuple[int, Event]], sent_at_ms: int, project: Project, facts: Facts
) -> tuple[list[OutRecord], list[Refusal]]:
    """Records of all readable events, and refusals of those that are not.

    All events of a call together unpack to at most 16 MiB; what goes beyond is `too_large`.
    """
    pages: dict[tuple[str, str], list[tuple[Event, bytes]]] = {}
    refusals: list[Refusal] = []
    room = REPLAY_DATA_BYTES_MAX
    for index, event in events:
        data, reason = _rrweb_json(event.replay.data, room)
        if reason is not None:
            refusals.append(
                Refusal(index, event.event_id, event.session_id, reason, "", b"", "event")
            )
            continue
        room -= len(data)
        page = event.page_view_id or event.page.url or event.page.path
        session_id = session_uuid(project.key.project_id, event.session_id)
        pages.setdefault((session_id, page), []).append((event, data))
    records = [
        chunk_record(_chunk(session_id, page, parts, sent_at_ms), project, facts.received_at_ms)
        for (session_id, page), parts in pages.items()
    ]
    return records, refusals


class _RrwebObject(msgspec.Struct):
    """Any JSON object: read to its end, nothing of it made."""


def _rrweb_json(data: bytes, room: int) -> tuple[bytes, RejectReason | None]:
    try:
        plain = unpack(data, "identity", max(room, 0))
        msgspec.json.decode(plain, type=_RrwebObject)
    except RefusedError as error:
        is_large = error.kind == "TOO_LARGE"
        return b"", RejectReason.TOO_LARGE if is_large else RejectReason.BAD_PAYLOAD
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return b"", RejectReason.BAD_PAYLOAD
    return plain, None


def _chunk(
    session_id: str, page: str, parts: Sequence[tuple[Event, bytes]], sent_at_ms: int
) -> ReplayChunk:
    times = [event.timestamp.millis for event, _ in parts]
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    packed = [packer.compress(b"[")]
    for place, (_, data) in enumerate(parts):  # Never joined: they may come to 16 MiB.
        if place:
            packed.append(packer.compress(b","))
        packed.append(packer.compress(data))
    packed += (packer.compress(b"]"), packer.flush())
    return ReplayChunk(
        session_id=session_id,
        recorder_id=recorder_uuid(session_id, page),
        chunk_index=min(times) // INDEX_STEP_MS % INDEX_MODULUS,
        timestamp_start=min(times),
        timestamp_end=max(times),
        event_count=len(parts),
        has_full_snapshot=any(event.replay.rrweb_type == FULL_SNAPSHOT for event, _ in parts),
        codec=ReplayCodec.REPLAY_CODEC_GZIP,
        data=b"".join(packed),
        sent_at=sent_at_ms,
    )
