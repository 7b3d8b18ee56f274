"""A body as it came to a batch of events, with every size checked before memory is spent on it.

In: bytes on the wire, their encoding and form. Out: a `Decoded` batch, or a refusal.
Source: events.md, section 6 (limits).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingest_gateway.errors import ErrorKind, RefusedError
from ingest_gateway.request import BodyForm
from ingest_gateway.unpack import unpack
from ingest_gateway.wire import Span, TooManyError, WireError, find_spans
from schemas.codec import CodecError, decode_batch, decode_batch_as_sent
from schemas.json_batch import (
    JsonBatchError,
    JsonBatchTooLargeError,
    JsonFault,
    batch_from_json,
)
from schemas.reasons import RejectReason
from schemas.v1.common_pb2 import PageContext
from schemas.v1.events_pb2 import Event
from schemas.v1.ingest_pb2 import EventBatch

EVENT_BYTES_MAX = 64 * 1024
REPLAY_EVENT_BYTES_MAX = 1024 * 1024
EVENTS_FIELD = 2  # EventBatch.events
REPLAY_FIELD = 115  # Event.replay
# Below this a body cannot hold enough events to hurt, nor one that is too large.
SCAN_ABOVE_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Bounds of one batch."""

    unpacked_bytes_max: int = 2 * 1024 * 1024
    batch_events_max: int = 500


@dataclass(frozen=True, slots=True)
class Faulty:
    """An event that could not be read, or was too large to be."""

    reason: RejectReason
    detail: str
    original: bytes
    kind: str  # event: protobuf bytes, json: JSON text
    event_id: str = ""
    session_id: str = ""
    page: PageContext | None = None  # Where it happened, if that may be blocked.


@dataclass(slots=True)
class Decoded:
    """A batch whose events have not been judged yet.

    `items` are in the order of the body. `batch` holds the very events of `items` when the body
    was protobuf and none is faulty. `event_bytes` are their sizes or upper bounds of them; None
    has to be measured.
    """

    form: BodyForm
    project_key: str
    sent_at_ms: int
    sdk_version: str
    items: Sequence[Event | Faulty]
    event_bytes: Sequence[int | None]
    batch: EventBatch | None
    # The body, if the batch says all that it says and nothing else, and there is no key in it.
    verbatim: bytes | None = None
    ignored: Sequence[str] = ()  # Where JSON has names that nothing reads.


def body_form(body: bytes) -> BodyForm:
    """Whether a body without a telling content type is JSON or protobuf.

    Text begins with a brace or a blank. A batch in protobuf begins with 0x0a (key), 0x12, 0x18 or
    0x22; 0x0a is also a line feed, but then the key would have the length of the next character.
    """
    first = body[:1]
    if first in (b"{", b"[", b" ", b"\t", b"\r", b"\xef"):
        return BodyForm.JSON
    if first == b"\n" and body[1:2] in (b"{", b" ", b"\t", b"\r", b"\n"):
        return BodyForm.JSON
    return BodyForm.PROTOBUF


def open_body(
    body: bytes, encoding: str, form: BodyForm, limits: DecodeLimits
) -> tuple[bytes, BodyForm]:
    """Unpack a body and tell its form.

    Raises:
        RefusedError: TOO_LARGE or INVALID_BODY (damaged).
    """
    plain = unpack(body, encoding, limits.unpacked_bytes_max)
    return plain, body_form(plain) if form is BodyForm.UNKNOWN else form


def split_key(plain: bytes, form: BodyForm) -> tuple[str, bytes]:
    """The key that stands in front of a batch in protobuf, and the batch without it.

    Empty, and the batch as it is, if there is none or it stands elsewhere.
    """
    if form is BodyForm.PROTOBUF and plain[:1] == b"\n" and len(plain) > 2 and plain[1] < 128:
        end = 2 + plain[1]
        key = plain[2:end]
        if len(plain) >= end and key.isascii():
            return key.decode(), plain[end:]
    return "", plain


def decode(plain: bytes, form: BodyForm, limits: DecodeLimits) -> Decoded:
    """Read a batch that `open_body` gave.

    Raises:
        RefusedError: TOO_LARGE or INVALID_BODY (damaged, or without any event).
    """
    if form is BodyForm.JSON:
        decoded = _decode_json(plain, limits)
    else:
        decoded = _decode_protobuf(plain, limits)
    if not decoded.items:
        raise RefusedError(ErrorKind.INVALID_BODY)
    if len(decoded.items) > limits.batch_events_max:
        raise RefusedError(ErrorKind.TOO_LARGE)
    return decoded


def _decode_json(body: bytes, limits: DecodeLimits) -> Decoded:
    try:
        batch = batch_from_json(body, limits.batch_events_max, limits.unpacked_bytes_max)
    except JsonBatchTooLargeError:
        raise RefusedError(ErrorKind.TOO_LARGE) from None
    except JsonBatchError:
        raise RefusedError(ErrorKind.INVALID_BODY) from None
    items = [_faulty_json(item) if isinstance(item, JsonFault) else item for item in batch.events]
    # What JSON says in n bytes takes fewer than 2 n in protobuf; only in large bodies it matters.
    size = 2 * len(body) if len(body) <= SCAN_ABOVE_BYTES else None
    return Decoded(
        BodyForm.JSON,
        batch.project_key,
        batch.sent_at,
        batch.sdk_version,
        items,
        (size,) * len(items),
        None,
        ignored=batch.ignored,
    )


def _faulty_json(fault: JsonFault) -> Faulty:
    return Faulty(
        fault.reason,
        fault.detail,
        fault.original,
        "json",
        fault.event_id,
        fault.session_id,
        fault.page,
    )


def _decode_protobuf(body: bytes, limits: DecodeLimits) -> Decoded:
    if len(body) > SCAN_ABOVE_BYTES:
        return _decode_large(body, limits)
    try:
        batch, is_verbatim = decode_batch_as_sent(body)
    except CodecError:
        raise RefusedError(ErrorKind.INVALID_BODY) from None
    events = batch.events
    # No event is larger than its batch, and that is below every limit of one event.
    sizes = (len(body),) * min(len(events), limits.batch_events_max + 1)
    return Decoded(
        BodyForm.PROTOBUF,
        batch.project_key,
        batch.sent_at,
        batch.sdk_version,
        events,
        sizes,
        batch,
        body if is_verbatim and not batch.project_key else None,
    )


def _decode_large(body: bytes, limits: DecodeLimits) -> Decoded:
    """Count and measure the events on the wire, then parse only those of an allowed size."""
    try:
        spans = find_spans(body, EVENTS_FIELD, limits.batch_events_max)
        too_large = [index for index, span in enumerate(spans) if _is_too_large(body, span)]
    except TooManyError:
        raise RefusedError(ErrorKind.TOO_LARGE) from None
    except WireError:
        raise RefusedError(ErrorKind.INVALID_BODY) from None
    readable = _without(body, [spans[index] for index in too_large]) if too_large else body
    try:
        batch = decode_batch(readable)
    except CodecError:
        raise RefusedError(ErrorKind.INVALID_BODY) from None
    if len(batch.events) != len(spans) - len(too_large):
        # Tags written longer than need be: no encoder does, and the count would not hold.
        raise RefusedError(ErrorKind.INVALID_BODY)
    items: list[Event | Faulty] = list(batch.events)
    for index in too_large:
        _, start, end = spans[index]
        fault = Faulty(RejectReason.TOO_LARGE, f"{end - start} bytes", body[start:end], "event")
        items.insert(index, fault)
    return Decoded(
        BodyForm.PROTOBUF,
        batch.project_key,
        batch.sent_at,
        batch.sdk_version,
        items,
        [span.end - span.start for span in spans],
        None if too_large else batch,
    )


def _is_too_large(body: bytes, span: Span) -> bool:
    size = span.end - span.start
    if size <= EVENT_BYTES_MAX:
        return False
    if size > REPLAY_EVENT_BYTES_MAX:
        return True
    try:
        return not find_spans(body[span.start : span.end], REPLAY_FIELD, 1)
    except TooManyError:
        return True


def _without(body: bytes, spans: Sequence[Span]) -> bytes:
    """The message without these fields."""
    parts: list[bytes] = []
    position = 0
    for span in spans:
        parts.append(body[position : span.field_at])
        position = span.end
    parts.append(body[position:])
    return b"".join(parts)
