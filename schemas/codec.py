"""Bytes to messages and back: what the gateway takes in and what every flow reads.

In: bodies of requests and values of gosight.events.raw. Out: messages of package `gosight`, the
ids that all flows must compute alike, and the stored JSON of payloads. Pure.
"""

from __future__ import annotations

from typing import cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.internal import api_implementation
from google.protobuf.message import DecodeError

from schemas.identifiers import derived_event_uuid, event_uuid, session_uuid
from schemas.payload_text import custom_json, payload_json
from schemas.utf8_repair import RepairError, repair_utf8
from schemas.v1.closed_pb2 import ClosedRawBatch
from schemas.v1.events_pb2 import Event
from schemas.v1.ingest_pb2 import EventBatch
from schemas.v1.pipeline_pb2 import RawBatch

__all__ = [
    "CodecError",
    "assert_fast_protobuf",
    "custom_json",
    "decode_batch",
    "decode_batch_as_sent",
    "decode_closed",
    "decode_raw",
    "event_identity",
    "normal_session_id",
    "payload_json",
]


_BATCH = cast(Descriptor, EventBatch.DESCRIPTOR)


class CodecError(ValueError):
    """The bytes are not the message that they should be. The text never quotes them."""


def assert_fast_protobuf() -> None:
    """Refuse to start on a slow protobuf runtime.

    Raises:
        RuntimeError: the pure-Python implementation is in use; it is some fifty times slower.
    """
    kind = api_implementation.Type()
    if kind != "upb":
        raise RuntimeError(
            f"protobuf runs on its {kind!r} implementation instead of 'upb': install the binary"
            " wheel of protobuf and unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"
        )


def decode_batch(body: bytes) -> EventBatch:
    """The batch in a request's body.

    Texts that are not UTF-8 do not lose the batch: what is damaged in them is replaced. Fields
    that the messages do not have are dropped, so that nothing travels on unseen.

    Raises:
        CodecError: the body is no EventBatch.
    """
    return decode_batch_as_sent(body)[0]


def decode_batch_as_sent(body: bytes) -> tuple[EventBatch, bool]:
    """The batch of `decode_batch`, and whether the body may be passed on as it came.

    It may if the batch says all that the body says: no unknown fields were dropped, no text was
    repaired, and the encoding is the usual one.

    Raises:
        CodecError: the body is no EventBatch.
    """
    try:
        batch = EventBatch.FromString(body)
        is_readable = True
    except DecodeError:
        batch = _decode_repaired(body)
        is_readable = False
    batch.DiscardUnknownFields()
    return batch, is_readable and batch.ByteSize() == len(body)


def _decode_repaired(body: bytes) -> EventBatch:
    try:
        return EventBatch.FromString(repair_utf8(body, _BATCH))
    except (RepairError, DecodeError) as error:
        raise CodecError("not an EventBatch") from error


def decode_raw(value: bytes) -> RawBatch:
    """The value of a record of gosight.events.raw.

    Raises:
        CodecError: it is no RawBatch.
    """
    try:
        return RawBatch.FromString(value)
    except DecodeError as error:
        raise CodecError("not a RawBatch") from error


def decode_closed(value: bytes) -> ClosedRawBatch:
    """The value of a record of gosight.events.raw, its inner messages left closed.

    Raises:
        CodecError: it is no RawBatch. What is inside of the closed messages is not looked at.
    """
    try:
        raw = ClosedRawBatch.FromString(value)
        if raw.ByteSize() != len(value):
            # A field stands twice, maybe a message, which must be merged with its other half.
            raw = ClosedRawBatch.FromString(RawBatch.FromString(value).SerializeToString())
    except DecodeError as error:
        raise CodecError("not a RawBatch") from error
    return raw


def normal_session_id(raw: RawBatch) -> str:
    """The session id to store for all events of this record."""
    return session_uuid(raw.project_id, raw.session_id)


def event_identity(raw: RawBatch | ClosedRawBatch, event: Event) -> str:
    """The event id to store for one event of this record."""
    session_text = event.session_id or raw.session_id
    if event.event_id:
        return event_uuid(raw.project_id, session_text, event.event_id)
    member = event.WhichOneof("payload")
    payload = (
        getattr(event, member).SerializeToString(deterministic=True) if member is not None else b""
    )
    return derived_event_uuid(
        raw.project_id, session_text, event.timestamp.millis, event.event_type, payload
    )
