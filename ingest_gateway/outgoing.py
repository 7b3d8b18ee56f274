"""A judged batch as Kafka records: the raw events, the errors' copies and the refused events.

In: a `Judged` batch and the facts of its request. Out: `OutRecord`s, one per session for the raw
topic. Pure. Ids and times of events stay as the client sent them: the flows normalise them, so
that it can be done again. Source: events.md, section 8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID, uuid5

from connectors.kafka_log import OutRecord
from ingest_gateway.decode import Decoded
from ingest_gateway.judge import Judged, Project, Refusal
from schemas.fingerprint import error_fingerprint
from schemas.identifiers import session_uuid
from schemas.privacy import SCRUBBER_VERSION
from schemas.reasons import WITHHELD_REASONS, RejectReason, Stage
from schemas.topics import EVENTS_ERRORS, EVENTS_RAW, EVENTS_REJECTED
from schemas.v1.events_pb2 import Event
from schemas.v1.ingest_pb2 import EventBatch
from schemas.v1.pipeline_pb2 import ErrorEvent, RawBatch, RejectedRecord
from schemas.v1.replay_pb2 import ReplayChunk

REJECTION_NAMESPACE = UUID("5f0ab9b6-7c0e-5d0e-9a5b-2f8c0d6a4c11")
# Well under the topic's bound for a record, whatever the facts and the framing add.
RECORD_EVENT_BYTES_MAX = 2 * 1024 * 1024
EVENTS_ALWAYS_FITTING = 20  # Of 64 KiB at most, they are 1.25 MiB.
EVENT_ID_CHARACTERS_MAX = 128  # Of a refused event's id, which nobody has checked.


class Facts(NamedTuple):
    """What the server knows of one request. `client_ip` is already masked."""

    received_at_ms: int
    client_ip: str
    user_agent: str
    batch_id: str


def raw_records(
    decoded: Decoded, judged: Judged, project: Project, facts: Facts
) -> list[OutRecord]:
    """One record per session of the accepted events, keyed `project_id:session_id`.

    A batch that goes on whole keeps its form, with the server's facts appended: concatenated
    messages merge, and what stands last wins. Its bytes are the client's own, without a key in
    front, if the batch says all that they say and nothing was changed in it; else it is written
    anew.
    """
    is_small = decoded.verbatim is not None or _fits(judged.accepted)
    if judged.is_whole and decoded.batch is not None and is_small:
        body = _batch_bytes(decoded, judged, decoded.batch)
        session = judged.accepted[0].session_id
        return [whole_record(body, session, len(judged.accepted), project, facts)]
    sessions: dict[str, list[Event]] = {}
    for event in judged.accepted:
        sessions.setdefault(event.session_id, []).append(event)
    records: list[OutRecord] = []
    for session, all_events in sessions.items():
        for events in _pieces(all_events):
            raw = _server_facts(project, facts, session, len(events))
            raw.sent_at = decoded.sent_at_ms
            raw.sdk_version = decoded.sdk_version
            raw.events.extend(events)
            value = raw.SerializeToString()
            records.append(_raw_record(project, facts, session, len(events), value))
    return records


def whole_record(
    body: bytes, session: str, event_count: int, project: Project, facts: Facts
) -> OutRecord:
    """The record of a batch that goes on in its own bytes, with the server's facts behind them."""
    server = _server_facts(project, facts, session, event_count)
    return _raw_record(project, facts, session, event_count, body + server.SerializeToString())


def _fits(events: Sequence[Event]) -> bool:
    """Few events always fit: each was judged not to be too large."""
    return (
        len(events) <= EVENTS_ALWAYS_FITTING
        or sum(event.ByteSize() for event in events) <= RECORD_EVENT_BYTES_MAX
    )


def _pieces(events: Sequence[Event]) -> Iterator[list[Event]]:
    """The events in order, in pieces that each fit into one record."""
    piece: list[Event] = []
    size = 0
    for event in events:
        event_size = event.ByteSize()
        if piece and size + event_size > RECORD_EVENT_BYTES_MAX:
            yield piece
            piece, size = [], 0
        piece.append(event)
        size += event_size
    if piece:
        yield piece


def _batch_bytes(decoded: Decoded, judged: Judged, batch: EventBatch) -> bytes:
    if decoded.verbatim is not None and not judged.is_changed:
        return decoded.verbatim
    batch.project_key = ""
    return batch.SerializeToString()


def _server_facts(project: Project, facts: Facts, session: str, event_count: int) -> RawBatch:
    """All fields that only the server may write; every one is set, whatever its value."""
    return RawBatch(
        project_id=project.key.project_id,
        session_id=session,
        received_at_ms=facts.received_at_ms,
        client_ip=facts.client_ip,
        user_agent=facts.user_agent,
        event_count=event_count,
        retain_days=project.settings.retain_days,
        scrubber_version=SCRUBBER_VERSION,
        batch_id=facts.batch_id,
    )


def _raw_record(
    project: Project, facts: Facts, session: str, event_count: int, value: bytes
) -> OutRecord:
    project_id = project.key.project_id
    return OutRecord(
        EVENTS_RAW.name,
        f"{project_id}:{session_uuid(project_id, session)}".encode(),
        value,
        (
            ("schema", b"RawBatch/1"),
            ("received_at", b"%d" % facts.received_at_ms),
            ("events", b"%d" % event_count),
        ),
    )


def error_records(errors: Sequence[Event], project: Project, facts: Facts) -> list[OutRecord]:
    """A copy of each error, keyed by project, with nothing in it that names a visitor.

    The topic keeps its records for 30 days, longer than one that holds personal data may.
    """
    records: list[OutRecord] = []
    for event in errors:
        record = ErrorEvent(
            project_id=project.key.project_id,
            received_at_ms=facts.received_at_ms,
            fingerprint=_fingerprint(event),
            event=event,
        )
        for name in ("user_id", "anonymous_id", "external_id", "handshake_token", "custom"):
            record.event.ClearField(name)
        records.append(
            OutRecord(
                EVENTS_ERRORS.name,
                project.key.project_id.encode(),
                record.SerializeToString(),
                (("schema", b"ErrorEvent/1"), ("received_at", b"%d" % facts.received_at_ms)),
            )
        )
    return records


def _fingerprint(event: Event) -> str:
    match event.WhichOneof("payload"):
        case "js_error":
            error = event.js_error
            return error_fingerprint(error.error_type or "Error", error.message, error.stack)
        case "resource_error":
            return error_fingerprint("ResourceError", event.resource_error.resource_url, "")
        case "console_error":
            console = event.console_error
            return error_fingerprint("ConsoleError", console.message, console.stack)
        case _:
            return error_fingerprint("Error", "", "")


def rejected_record(
    refusal: Refusal, decoded: Decoded, project: Project, facts: Facts
) -> OutRecord:
    """The dead letter of one refused event, with its bytes unless privacy forbids to keep them.

    Its id comes from the bytes and their place, so that a repeated request gives the same id.
    """
    project_id = project.key.project_id
    is_withheld = refusal.reason in WITHHELD_REASONS
    digest = sha256(refusal.original).hexdigest()
    record = RejectedRecord(
        rejection_id=str(uuid5(REJECTION_NAMESPACE, f"{project_id}|{refusal.place}|{digest}")),
        project_id=project_id,
        stage=Stage.GATEWAY,
        reason=refusal.reason,
        detail=refusal.detail,
        event_id=refusal.event_id[:EVENT_ID_CHARACTERS_MAX],
        session_id="" if is_withheld else refusal.session_id[:EVENT_ID_CHARACTERS_MAX],
        received_at_ms=facts.received_at_ms,
        rejected_at_ms=facts.received_at_ms,
        payload_kind=refusal.kind,
        payload=b"" if is_withheld else refusal.original,
        payload_withheld=is_withheld,
        payload_bytes=len(refusal.original),
        event_count=1,
        origin_index=refusal.place,
        sent_at=decoded.sent_at_ms,
        sdk_version=decoded.sdk_version,
        client_ip="" if is_withheld else facts.client_ip,
        user_agent="" if is_withheld else facts.user_agent,
        batch_id=facts.batch_id,
    )
    return dead_letter(record)


def rejected_chunk_record(
    chunk: ReplayChunk, reason: RejectReason, count: int, project: Project, facts: Facts
) -> OutRecord:
    """The dead letter of a refused replay chunk: counted, but its pictures are not kept."""
    project_id = project.key.project_id
    digest = sha256(chunk.data).hexdigest()
    place = f"{project_id}|{chunk.recorder_id}|{chunk.chunk_index}|{digest}"
    return dead_letter(
        RejectedRecord(
            rejection_id=str(uuid5(REJECTION_NAMESPACE, place)),
            project_id=project_id,
            stage=Stage.GATEWAY,
            reason=reason,
            received_at_ms=facts.received_at_ms,
            rejected_at_ms=facts.received_at_ms,
            payload_withheld=True,
            payload_bytes=len(chunk.data),
            event_count=count,
            sent_at=chunk.sent_at,
            batch_id=facts.batch_id,
        )
    )


def dead_letter(record: RejectedRecord) -> OutRecord:
    """A `RejectedRecord` on its way to the topic of refused events."""
    return OutRecord(
        EVENTS_REJECTED.name,
        record.project_id.encode(),
        record.SerializeToString(),
        (
            ("schema", b"RejectedRecord/1"),
            ("received_at", b"%d" % record.received_at_ms),
            ("events", b"%d" % record.event_count),
        ),
    )
