"""Replay chunks: read, checked against their own data, and made into Kafka records.

In: the body of `POST /v1/replay` (JSON or protobuf) or one message of `SendReplay`. Out: a
`ReplayChunk` whose counts and flags were recomputed from the data, which itself stays as the
client packed it. Pure. Source: replay.md, section 3.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from uuid import UUID, uuid5

import msgspec
from google.protobuf.message import DecodeError

from connectors.kafka_log import OutRecord
from ingest_gateway.decode import body_form
from ingest_gateway.errors import ErrorKind, RefusedError
from ingest_gateway.judge import Project
from ingest_gateway.request import BodyForm
from ingest_gateway.unpack import unpack, unpack_large
from schemas.identifiers import session_uuid
from schemas.reasons import RejectReason
from schemas.topics import REPLAY_CHUNKS
from schemas.v1.replay_pb2 import ReplayChunk, ReplayCodec

RECORDER_NAMESPACE = UUID("0d3c5d5e-6f0b-5f0a-8c64-3f2f7c1f9a57")
REPLAY_DATA_BYTES_MAX = 16 * 1024 * 1024
REPLAY_EVENTS_MAX = 2_000
FULL_SNAPSHOT = 2  # rrweb's event type.
CODEC_ENCODING: dict[int, str] = {
    ReplayCodec.REPLAY_CODEC_UNSPECIFIED: "identity",  # Gzip is recognised by its magic bytes.
    ReplayCodec.REPLAY_CODEC_NONE: "identity",
    ReplayCodec.REPLAY_CODEC_GZIP: "gzip",
    ReplayCodec.REPLAY_CODEC_ZSTD: "zstd",
}
CODEC_BY_NAME: dict[str, ReplayCodec] = {
    "": ReplayCodec.REPLAY_CODEC_UNSPECIFIED,
    "none": ReplayCodec.REPLAY_CODEC_NONE,
    "gzip": ReplayCodec.REPLAY_CODEC_GZIP,
    "zstd": ReplayCodec.REPLAY_CODEC_ZSTD,
}


@dataclass(frozen=True, slots=True)
class ReplayLimits:
    """Bounds of one chunk. `body_unpacked_bytes_max` is for the transport's own compression."""

    body_unpacked_bytes_max: int = 4 * 1024 * 1024
    data_bytes_max: int = REPLAY_DATA_BYTES_MAX
    events_max: int = REPLAY_EVENTS_MAX


class _JsonChunk(msgspec.Struct):
    """A chunk as JSON; `seq` is an older name of `chunk_index`."""

    project_key: str = ""
    session_id: str = ""
    recorder_id: str = ""
    chunk_index: int | None = None
    seq: int = 0
    timestamp_start: int = 0
    timestamp_end: int = 0
    event_count: int = 0
    codec: str = ""
    data: str = ""
    events: msgspec.Raw = msgspec.Raw(b"")
    sent_at: int = 0


class _TooManyEventsError(ValueError):
    """Reading a chunk came to one event more than allowed."""


class _Count:
    """How many events may still be read; a chunk is read at one go, never two at a time."""

    left = 0


class _RrwebEvent(msgspec.Struct):
    """What is needed of one rrweb event; the rest is passed over.

    Counted while they are made: 16 MiB can hold more than a million of them.
    """

    type: int
    timestamp: float = 0

    def __post_init__(self) -> None:
        _Count.left -= 1
        if _Count.left < 0:
            raise _TooManyEventsError


def read_rrweb(data: bytes | bytearray, events_max: int) -> list[_RrwebEvent]:
    """The events of a JSON array.

    Raises:
        RefusedError: TOO_LARGE: there are more than allowed; the others were not made.
        ValueError, RecursionError: it is no such array.
    """
    _Count.left = events_max
    try:
        return msgspec.json.decode(data, type=list[_RrwebEvent])
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, _TooManyEventsError):
            raise RefusedError(ErrorKind.TOO_LARGE) from None
        raise


def decode_chunk(
    body: bytes, encoding: str, form: BodyForm, limits: ReplayLimits
) -> tuple[ReplayChunk, BodyForm]:
    """The chunk as sent and the form it was written in.

    Raises:
        RefusedError: TOO_LARGE or INVALID_BODY.
    """
    plain = unpack(body, encoding, limits.body_unpacked_bytes_max)
    if form is BodyForm.UNKNOWN:
        form = body_form(plain)
    if form is BodyForm.JSON:
        return _chunk_from_json(plain), form
    try:
        chunk = ReplayChunk.FromString(plain)
    except DecodeError:
        raise RefusedError(ErrorKind.INVALID_BODY) from None
    chunk.DiscardUnknownFields()
    return chunk, form


def _chunk_from_json(body: bytes) -> ReplayChunk:
    try:
        fields = msgspec.json.decode(body, type=_JsonChunk)
        if bytes(fields.events):
            data, codec = bytes(fields.events), ReplayCodec.REPLAY_CODEC_NONE
        else:
            data = base64.b64decode(fields.data, validate=True)
            codec = CODEC_BY_NAME[fields.codec]
        return ReplayChunk(
            project_key=fields.project_key,
            session_id=fields.session_id,
            recorder_id=fields.recorder_id,
            chunk_index=fields.seq if fields.chunk_index is None else fields.chunk_index,
            timestamp_start=fields.timestamp_start,
            timestamp_end=fields.timestamp_end,
            event_count=min(max(fields.event_count, 0), REPLAY_EVENTS_MAX),
            codec=codec,
            data=data,
            sent_at=fields.sent_at,
        )
    except (msgspec.MsgspecError, binascii.Error, KeyError, ValueError, RecursionError):
        raise RefusedError(ErrorKind.INVALID_BODY) from None


def check_chunk(
    chunk: ReplayChunk, project: Project, limits: ReplayLimits, *, opted_out: bool
) -> RejectReason | None:
    """Recompute counts, times and flags of a chunk from its data; a reason if it is refused.

    Raises:
        RefusedError: TOO_LARGE: the data unpacks to more bytes or events than allowed.
    """
    if opted_out:
        return RejectReason.OPTED_OUT
    if "replay" in project.settings.disabled_categories:
        return RejectReason.TYPE_DISABLED
    if not chunk.session_id or not chunk.data:
        return RejectReason.MISSING_FIELD
    if chunk.codec not in CODEC_ENCODING or chunk.chunk_index < 0:
        return RejectReason.BAD_PAYLOAD
    try:
        data = unpack_large(chunk.data, CODEC_ENCODING[chunk.codec], limits.data_bytes_max)
        events = read_rrweb(data, limits.events_max)
    except RefusedError as error:
        if error.kind is ErrorKind.TOO_LARGE:
            raise
        return RejectReason.BAD_PAYLOAD
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return RejectReason.BAD_PAYLOAD
    if not events:
        return RejectReason.BAD_PAYLOAD
    if chunk.codec == ReplayCodec.REPLAY_CODEC_UNSPECIFIED:
        is_plain = isinstance(data, bytes)  # What was unpacked is a bytearray.
        chunk.codec = ReplayCodec.REPLAY_CODEC_NONE if is_plain else ReplayCodec.REPLAY_CODEC_GZIP
    chunk.event_count = len(events)
    chunk.has_full_snapshot = any(event.type == FULL_SNAPSHOT for event in events)
    times = [int(event.timestamp) for event in events if 0 < event.timestamp < 2**53]
    if chunk.timestamp_start <= 0:
        chunk.timestamp_start = min(times, default=0)
    if chunk.timestamp_end <= 0:
        chunk.timestamp_end = max(times, default=chunk.timestamp_start)
    return None


def chunk_record(chunk: ReplayChunk, project: Project, received_at_ms: int) -> OutRecord:
    """The chunk as a Kafka record, keyed by the normalised session id. Changes the chunk."""
    project_id = project.key.project_id
    chunk.session_id = session_uuid(project_id, chunk.session_id)
    if not chunk.recorder_id:
        chunk.recorder_id = recorder_uuid(chunk.session_id, "")
    chunk.project_key = ""
    chunk.project_id = project_id
    chunk.received_at_ms = received_at_ms
    chunk.retain_days = project.settings.retain_days
    return OutRecord(
        REPLAY_CHUNKS.name,
        chunk.session_id.encode(),
        chunk.SerializeToString(),
        (
            ("schema", b"ReplayChunk/1"),
            ("received_at", b"%d" % received_at_ms),
            ("events", b"%d" % chunk.event_count),
        ),
    )


def recorder_uuid(session_id: str, page: str) -> str:
    """The recorder of a chunk that names none: the same for one session and page."""
    return str(uuid5(RECORDER_NAMESPACE, f"{session_id}|{page}"))


def count_claimed(chunk: ReplayChunk, limits: ReplayLimits) -> int:
    """How many events a refused chunk stands for: what it says, within reason, and at least 1."""
    return min(max(chunk.event_count, 1), limits.events_max)
