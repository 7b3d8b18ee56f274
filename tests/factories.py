"""Small valid messages for tests; every value can be given, none is personal data."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable

from connectors.kafka_log import OutRecord
from schemas.identifiers import session_uuid
from schemas.topics import EVENTS_RAW
from schemas.v1.events_pb2 import Event, EventType
from schemas.v1.pipeline_pb2 import RawBatch

PROJECT = "0b8f6f5e-5d1c-4b57-9a3e-7d8a4d1c2f10"
NOW_MS = 1_795_255_200_000
WINDOWS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/156.0.0.0 Safari/537.36"
)


def make_uuid(chance: random.Random) -> str:
    """A version 4 UUID from a seeded source."""
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def make_event(
    event_id: str,
    session_id: str,
    *,
    at_ms: int = NOW_MS,
    path: str = "/cart",
    kind: EventType.ValueType = EventType.EVENT_TYPE_PAGE_VIEW,
) -> Event:
    """A page view or a click."""
    event = Event(event_id=event_id, session_id=session_id, event_type=kind)
    event.timestamp.millis = at_ms
    event.page.url = "https://shop.example" + path
    event.page.path = path
    if kind == EventType.EVENT_TYPE_PAGE_VIEW:
        event.page_view.page_path = path
    elif kind == EventType.EVENT_TYPE_CLICK:
        event.click.position.x = 10
        event.click.position.y = 20
        event.click.target.tag = "button"
        event.click.target.selector = "#buy"
    return event


def make_raw(
    events: Iterable[Event],
    session_id: str,
    *,
    project_id: str = PROJECT,
    received_at_ms: int = NOW_MS,
    sent_at_ms: int = 0,
    client_ip: str = "",
    event_count: int | None = None,
) -> RawBatch:
    """A record of the raw topic as the gateway builds it."""
    kept = list(events)
    return RawBatch(
        events=kept,
        sent_at=sent_at_ms,
        sdk_version="1.0.0",
        project_id=project_id,
        session_id=session_id,
        received_at_ms=received_at_ms,
        client_ip=client_ip,
        user_agent=WINDOWS,
        event_count=len(kept) if event_count is None else event_count,
        retain_days=90,
        scrubber_version=1,
        batch_id="b",
    )


def raw_record(raw: RawBatch) -> OutRecord:
    """The record that carries it."""
    key = f"{raw.project_id}:{session_uuid(raw.project_id, raw.session_id)}"
    return OutRecord(
        EVENTS_RAW.name,
        key.encode(),
        raw.SerializeToString(),
        (("schema", b"RawBatch/1"), ("events", str(raw.event_count).encode())),
    )
