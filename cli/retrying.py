"""Bringing refused events in again, once what refused them was changed.

In: `DeadLetter`s and the projects' settings of now. Out: for each, a raw record as the gateway
would have built it, or why not. An event is judged at its first receipt and at the present one.

Time and identity are settled as of the first receipt: the clock correction of then is written into
the event's time, and an event sent without an id gets the one it would have had. The receipt is a
new one, so that the ledger books the event again (it was booked as received and rejected; it is now
received and stored). Which rejections were brought in is remembered in Redis for longer than the
topic keeps them. Should Redis lose that, the worst is a second sending, which the storage flow
counts as a duplicate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError
from redis import Redis

from cli.dead_letters import DeadLetter
from connectors.kafka_log import OutRecord
from flows.core.event_rows import RowBuilder
from ingest_gateway.decode import Decoded
from ingest_gateway.judge import Project, judge
from ingest_gateway.outgoing import Facts, raw_records
from ingest_gateway.request import BodyForm
from schemas.codec import decode_raw, event_identity, normal_session_id
from schemas.identifiers import corrected_time_ms
from schemas.json_batch import JsonBatchError, JsonFault, batch_from_json
from schemas.log import Fetched, PolledBatch
from schemas.lookups import UNKNOWN_PLACE, ParsedAgent
from schemas.reasons import Stage
from schemas.records import ProjectKey, ProjectSettings
from schemas.topics import DAY_MS, EVENTS_RAW, EVENTS_REJECTED
from schemas.v1.events_pb2 import Event
from schemas.v1.pipeline_pb2 import RawBatch, RejectedRecord
from schemas.validate import validate_event

REMEMBERED_S = (EVENTS_REJECTED.retention_ms + DAY_MS) // 1000


@dataclass(frozen=True, slots=True)
class Retry:
    """What becomes of one refused event: a record to send, or why there is none."""

    letter: DeadLetter
    record: OutRecord | None
    why_not: str = ""


def build_retry(letter: DeadLetter, settings: ProjectSettings, now_ms: int) -> Retry:
    """Judge one refused event under these settings."""
    record = letter.record
    if record.payload_kind == "record" and not record.payload_withheld:
        return _retry_record(letter)
    why_not = _why_unreadable(record)
    event = None if why_not else _event_of(record)
    if isinstance(event, JsonFault):
        return Retry(letter, None, f"still {event.reason.value}")
    if event is None:
        return Retry(letter, None, why_not or "its bytes cannot be read")
    size = event.ByteSize()
    refused = validate_event(event, settings, record.sent_at, record.received_at_ms, size)
    if refused is None:
        _settle(event, record)
        refused = validate_event(event, settings, 0, now_ms, size)
    if refused is not None:
        return Retry(letter, None, f"still {refused.value}")
    project = _project(record.project_id, settings)
    decoded = Decoded(BodyForm.PROTOBUF, "", 0, record.sdk_version, [event], [size], None)
    judged = judge(decoded, project, now_ms, opted_out=False)
    facts = Facts(now_ms, record.client_ip, record.user_agent, record.rejection_id)
    records = raw_records(decoded, judged, project, facts)
    if not records:
        return Retry(letter, None, "replay cannot be brought in again")
    return Retry(letter, records[0])


def _why_unreadable(record: RejectedRecord) -> str:
    if record.payload_withheld:
        return "its bytes were not kept, for privacy"
    if record.stage != Stage.GATEWAY or record.payload_kind not in {"event", "json"}:
        return "nothing is known of such a payload"
    return ""


def _retry_record(letter: DeadLetter) -> Retry:
    """A whole record goes in as it was, once the code of now can make rows of it."""
    record = letter.record
    if record.origin_topic != EVENTS_RAW.name:
        return Retry(letter, None, f"records of {record.origin_topic} cannot be brought in again")
    one = Fetched(0, record.payload, b"", record.received_at_ms, record.event_count)
    builder = RowBuilder(lambda text: ParsedAgent(text=text), lambda _address: UNKNOWN_PLACE)
    chunk = builder.build(PolledBatch.of(EVENTS_RAW.name, 0, [one]))
    if chunk.poisons:
        return Retry(letter, None, f"still {chunk.poisons[0].reason.value}")
    raw = decode_raw(record.payload)
    headers = (
        ("schema", b"RawBatch/1"),
        ("received_at", b"%d" % raw.received_at_ms),
        ("events", b"%d" % raw.event_count),
    )
    key = f"{raw.project_id}:{normal_session_id(raw)}".encode()
    return Retry(letter, OutRecord(EVENTS_RAW.name, key, record.payload, headers))


def _event_of(record: RejectedRecord) -> Event | JsonFault | None:
    if record.payload_kind == "event":
        try:
            return Event.FromString(record.payload)
        except DecodeError:
            return None
    try:
        batch = batch_from_json(b'{"events":[' + record.payload + b"]}")
    except JsonBatchError:
        return None
    return batch.events[0] if len(batch.events) == 1 else None


def _settle(event: Event, record: RejectedRecord) -> None:
    """Fix id and time as of the first receipt, so that a later one changes neither."""
    raw = RawBatch(project_id=record.project_id, session_id=event.session_id)
    event.event_id = event_identity(raw, event)
    event.timestamp.millis = corrected_time_ms(
        event.timestamp.millis, record.sent_at, record.received_at_ms
    )


def _project(project_id: str, settings: ProjectSettings) -> Project:
    key = ProjectKey(
        key_hash="",
        project_id=project_id,
        permissions=frozenset({"write"}),
        rate_limit_per_s=1,
        burst=1,
        is_active=True,
        expires_at_ms=None,
        allowed_domains=(),
        settings=settings,
    )
    return Project.of(key)


class RetriedRejections:
    """Which rejections were brought in already, in Redis: `dlq:retried:{rejection id}`."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def known(self, rejection_ids: Sequence[str]) -> set[str]:
        """Those of these that were brought in."""
        if not rejection_ids:
            return set()
        found: list[Any] = self._client.mget([_name(item) for item in rejection_ids])
        return {item for item, mark in zip(rejection_ids, found, strict=True) if mark is not None}

    def remember(self, rejection_ids: Sequence[str]) -> None:
        """Note that these are in; call it once Kafka has acknowledged them."""
        with self._client.pipeline(transaction=False) as pipeline:
            for item in rejection_ids:
                pipeline.set(_name(item), "1", ex=REMEMBERED_S)
            pipeline.execute()


def _name(rejection_id: str) -> str:
    return f"dlq:retried:{rejection_id}"
