"""Records of Kafka as messages of a channel.

In: a record and its channel. Out: messages with their ids, none for what nobody is told. A record
that cannot be read, or whose value is of another project than its key, is nothing. Pure.
Source: api.md, section 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from api.answers import time_text
from api.realtime.messages import Channel, MessageId, message
from connectors.kafka_tail import TailRecord
from schemas.codec import CodecError, decode_closed
from schemas.event_types import NAME_BY_NUMBER
from schemas.identifiers import corrected_time_ms, session_uuid
from schemas.topics import ALERTS, EVENTS_RAW, INSIGHTS, SESSIONS
from schemas.v1.alerts_pb2 import AlertTransition
from schemas.v1.pipeline_pb2 import Insight, SessionRevision

PROJECT_CHARS = 36  # Keys of all these topics begin with the project's id.
CHANNEL_OF: Mapping[str, Channel] = {
    SESSIONS.name: Channel.SESSIONS,
    EVENTS_RAW.name: Channel.EVENTS,
    INSIGHTS.name: Channel.INSIGHTS,
    ALERTS.name: Channel.ALERTS,
}
_ALERT_KINDS = {"fired": "alert.triggered", "resolved": "alert.resolved"}
TIME_MAX_MS = 9_999_999_999_999  # The year 2286.
_Found = Iterator[tuple[str, str, dict[str, Any]]]  # Project, type, data.


class Told(NamedTuple):
    """One message; `body` is what goes over the wire, for everybody the same bytes."""

    id: MessageId
    kind: str
    body: bytes


def project_of(record: TailRecord) -> bytes:
    """Whose record it is, as keys have it."""
    return record.key[:PROJECT_CHARS]


def messages_of(record: TailRecord) -> list[Told]:
    """What its project's subscribers are told of a record."""
    channel = CHANNEL_OF[record.topic]
    owner = project_of(record).decode("ascii", "replace")
    made = []
    try:
        for index, (project_id, kind, data) in enumerate(_READERS[channel](record.value)):
            if project_id != owner:
                return []
            place = MessageId(record.created_ms, channel[0], record.partition, record.offset, index)
            made.append(Told(place, kind, message(kind, data, message_id=str(place))))
    except (DecodeError, CodecError, ValueError, OverflowError):
        return []  # Whoever writes rows from this topic tells of it.
    return made


def _sessions(value: bytes) -> _Found:
    row = SessionRevision.FromString(value)
    if row.revision == 1:
        yield (
            row.project_id,
            "session.start",
            {
                "session_id": row.session_id,
                "user_id": row.user_id,
                "url": row.entry_url,
                "device": row.device_type,
                "country": row.country,
            },
        )
    if row.is_closed:
        yield (
            row.project_id,
            "session.end",
            {
                "session_id": row.session_id,
                "duration_ms": row.duration_ms,
                "page_count": row.page_count,
            },
        )


def _insights(value: bytes) -> _Found:
    insight = Insight.FromString(value)
    yield (
        insight.project_id,
        "insight",
        {
            "insight_id": insight.insight_id,
            "type": insight.insight_type,
            "path": insight.path,
            "provisional": insight.is_provisional,
        },
    )


def _alerts(value: bytes) -> _Found:
    change = AlertTransition.FromString(value)
    kind = _ALERT_KINDS.get(change.kind)
    if kind is not None:
        yield (
            change.project_id,
            kind,
            {
                "rule_id": change.rule_id,
                "rule_name": change.rule_name,
                "metric_value": change.value if change.HasField("value") else None,
            },
        )


def _events(value: bytes) -> _Found:
    raw = decode_closed(value)
    session_id = session_uuid(raw.project_id, raw.session_id)
    for event in raw.events:
        at_ms = corrected_time_ms(event.timestamp.millis, raw.sent_at, raw.received_at_ms)
        yield (
            raw.project_id,
            "event",
            {
                "session_id": session_id,
                "event_type": NAME_BY_NUMBER.get(event.event_type, "unknown"),
                "timestamp": time_text(max(0, min(at_ms, TIME_MAX_MS))),
            },
        )


_READERS: Mapping[Channel, Callable[[bytes], _Found]] = {
    Channel.SESSIONS: _sessions,
    Channel.EVENTS: _events,
    Channel.INSIGHTS: _insights,
    Channel.ALERTS: _alerts,
}
