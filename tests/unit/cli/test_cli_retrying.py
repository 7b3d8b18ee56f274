"""Judging refused events anew: what comes in, and with which time, id and key."""

from __future__ import annotations

from typing import Any

import pytest

from cli.dead_letters import DeadLetter, Filters
from cli.retrying import build_retry
from schemas.codec import decode_raw, event_identity
from schemas.identifiers import corrected_time_ms
from schemas.project_settings import parse_settings
from schemas.records import ProjectSettings
from schemas.v1.events_pb2 import Event, EventType
from schemas.v1.pipeline_pb2 import RawBatch, RejectedRecord
from tests.factories import NOW_MS, PROJECT, make_event, make_raw

HOUR_MS = 3_600_000
EVENT_ID = "11111111-1111-4111-8111-111111111111"
SESSION = "22222222-2222-4222-8222-222222222222"
OPEN = parse_settings({"events": {"clipboard": True}})
CLOSED = ProjectSettings()


def copy_event(**changes: Any) -> Event:
    """An event of a kind that is off by default."""
    event = make_event(EVENT_ID, SESSION, at_ms=NOW_MS - 1_000)
    event.ClearField("page_view")
    event.event_type = EventType.EVENT_TYPE_COPY
    for name, value in changes.items():
        setattr(event, name, value)
    return event


def letter(event: Event | None = None, **changes: Any) -> DeadLetter:
    """A dead letter as the gateway writes it."""
    fields: dict[str, Any] = {
        "rejection_id": "r1",
        "project_id": PROJECT,
        "stage": "gateway",
        "reason": "type_disabled",
        "received_at_ms": NOW_MS,
        "rejected_at_ms": NOW_MS,
        "payload_kind": "event",
        "payload": (event or copy_event()).SerializeToString(),
        "sdk_version": "1.0.0",
        "client_ip": "203.0.113.7",
        "user_agent": "A",
    }
    return DeadLetter(0, 5, RejectedRecord(**{**fields, **changes}))


def sent(found: DeadLetter, settings: ProjectSettings = OPEN, later_ms: int = HOUR_MS) -> RawBatch:
    """The raw record that a retry some time later sends."""
    retry = build_retry(found, settings, NOW_MS + later_ms)
    assert retry.record is not None, retry.why_not
    return decode_raw(retry.record.value)


def stored_time(raw: RawBatch) -> int:
    """The event's time as a flow computes it."""
    event = raw.events[0]
    return corrected_time_ms(event.timestamp.millis, raw.sent_at, raw.received_at_ms)


def test_an_event_that_passes_now_is_sent_as_the_gateway_would() -> None:
    """Key, headers and facts are those of an ordinary raw record; the receipt is a new one."""
    retry = build_retry(letter(), OPEN, NOW_MS + HOUR_MS)
    assert retry.record is not None
    assert retry.record.key == f"{PROJECT}:{SESSION}".encode()
    assert dict(retry.record.headers)["events"] == b"1"
    raw = decode_raw(retry.record.value)
    assert (raw.received_at_ms, raw.client_ip) == (NOW_MS + HOUR_MS, "203.0.113.7")
    assert (raw.user_agent, raw.sdk_version, raw.batch_id) == ("A", "1.0.0", "r1")
    assert event_identity(raw, raw.events[0]) == EVENT_ID


def test_an_event_that_is_still_refused_stays_out() -> None:
    """Without a change of settings the reason is the same."""
    retry = build_retry(letter(), CLOSED, NOW_MS)
    assert (retry.record, retry.why_not) == (None, "still type_disabled")


@pytest.mark.parametrize("skew_ms", [0, 1_500, 250_000, -250_000])
def test_the_time_is_the_one_of_the_first_receipt(skew_ms: int) -> None:
    """A wrong client clock is corrected by the first receipt, not by the second."""
    event = copy_event()
    event.timestamp.millis = NOW_MS - 5_000 - skew_ms
    sent_at = NOW_MS - skew_ms
    first = corrected_time_ms(event.timestamp.millis, sent_at, NOW_MS)
    assert stored_time(sent(letter(event, sent_at=sent_at))) == first


def test_a_time_in_the_future_stays_at_the_first_receipt() -> None:
    """What was clamped to its receipt then is not let go by a later one."""
    event = copy_event()
    event.timestamp.millis = NOW_MS + HOUR_MS // 2
    assert stored_time(sent(letter(event))) == NOW_MS


def test_a_missing_id_becomes_the_one_it_would_have_had() -> None:
    """An event sent without id gets the id derived from its time as sent."""
    event = copy_event(event_id="")
    event.timestamp.millis = NOW_MS - 100_000
    raw = RawBatch(project_id=PROJECT, session_id=SESSION, events=[event])
    expected = event_identity(raw, event)
    found = sent(letter(event, sent_at=NOW_MS - 90_000))
    assert event_identity(found, found.events[0]) == expected


def test_an_event_that_grew_too_old_stays_out() -> None:
    """The age limit holds for the present receipt, too."""
    retry = build_retry(letter(), OPEN, NOW_MS + 8 * 24 * HOUR_MS)
    assert (retry.record, retry.why_not) == (None, "still too_old")


def test_a_json_event_is_read() -> None:
    """An event refused in its JSON form comes in if it can be read now."""
    body = (
        b'{"event_id":"%s","session_id":"%s","event_type":"copy","timestamp":%d,'
        b'"page":{"path":"/a"}}' % (EVENT_ID.encode(), SESSION.encode(), NOW_MS)
    )
    raw = sent(letter(payload_kind="json", payload=body))
    assert raw.events[0].event_type == EventType.EVENT_TYPE_COPY


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"payload_withheld": True, "payload": b""}, "privacy"),
        ({"stage": "storage"}, "nothing is known"),
        ({"payload_kind": "record", "origin_topic": "gosight.replay.chunks"}, "records of gosight"),
        ({"payload": b"\xff\xff"}, "cannot be read"),
        ({"payload_kind": "json", "payload": b"{"}, "cannot be read"),
        ({"payload_kind": "json", "payload": b'{"type":"new"}'}, "still unknown_event_type"),
        ({"payload_kind": "json", "payload": b"5"}, "still bad_payload"),
        ({"payload_kind": "json", "payload": b"{},{}"}, "cannot be read"),
    ],
)
def test_what_cannot_be_brought_in_is_told(changes: dict[str, Any], why: str) -> None:
    """Withheld, foreign and damaged records are left, each with its reason."""
    retry = build_retry(letter(**changes), OPEN, NOW_MS)
    assert retry.record is None
    assert why in retry.why_not


def test_filters_narrow() -> None:
    """Project, reason and time must all fit."""
    record = letter().record
    assert Filters().match(record)
    assert Filters(PROJECT, "type_disabled", NOW_MS).match(record)
    assert not Filters("other").match(record)
    assert not Filters(reason="too_old").match(record)
    assert not Filters(since_ms=NOW_MS + 1).match(record)


def whole_record(payload: bytes) -> DeadLetter:
    """A dead letter as the storage flow writes it."""
    return letter(
        stage="storage",
        reason="poison",
        payload_kind="record",
        payload=payload,
        event_count=1,
        origin_topic="gosight.events.raw",
    )


def test_a_whole_record_goes_in_as_it_was_once_it_can_be_read() -> None:
    """The same bytes, under the key and with the headers that the gateway would give them."""
    raw = make_raw([make_event(EVENT_ID, SESSION)], SESSION)
    payload = raw.SerializeToString()
    record = build_retry(whole_record(payload), CLOSED, NOW_MS).record
    assert record is not None
    assert (record.topic, record.value) == ("gosight.events.raw", payload)
    assert record.key == f"{PROJECT}:{SESSION}".encode()
    assert dict(record.headers)["events"] == b"1"


def test_a_whole_record_that_still_cannot_be_read_stays_out() -> None:
    """It would only be refused again."""
    retry = build_retry(whole_record(b"\xff\xff not a message"), CLOSED, NOW_MS)
    assert (retry.record, retry.why_not) == (None, "still undecodable")
