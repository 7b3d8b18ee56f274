"""Rows of records whose bytes are unusual."""

from __future__ import annotations

import uuid

import pytest

from flows.core.event_rows import EnrichedChunk, RowBuilder
from schemas.log import PolledBatch
from schemas.lookups import ParsedAgent, Place
from schemas.reasons import RejectReason
from schemas.v1.closed_pb2 import ClosedEvent, ClosedRawBatch
from schemas.v1.events_pb2 import Event, EventType
from tests.factories import make_event, make_raw

SESSION = "7b6f3a0e-8f0e-4c2e-9a54-0f8a5d1c2b3a"


def build(*values: bytes) -> EnrichedChunk:
    """The rows of these records."""
    polled = PolledBatch(
        topic="gosight.events.raw",
        partition=0,
        offsets=list(range(len(values))),
        values=list(values),
        keys=[b"p:s"] * len(values),
        created_ms=[0] * len(values),
        event_counts=[1] * len(values),
    )
    return RowBuilder(lambda text: ParsedAgent(text=text), lambda _address: Place()).build(polled)


def moving() -> Event:
    """A mouse move with one position."""
    event = make_event(str(uuid.uuid4()), SESSION, kind=EventType.EVENT_TYPE_MOUSE_MOVE)
    event.mouse_move.positions.add(x=3, y=4, timestamp=5)
    return event


def test_mouse_moves_keep_their_places_among_other_payloads() -> None:
    """Texts that are written together stand in the rows of their events."""
    plain = make_event(str(uuid.uuid4()), SESSION)
    chunk = build(*(make_raw([event], SESSION).SerializeToString() for event in (moving(), plain)))
    first, second = chunk.table["payload"].to_pylist()
    assert first == '{"positions":[{"timestamp":5,"x":3,"y":4}]}'
    assert "positions" not in second


@pytest.mark.parametrize("member", ["mouse_move", "click", "scroll", "js_error", "performance"])
def test_damage_inside_of_a_payload_puts_its_record_aside_alone(member: str) -> None:
    """The records before and behind it become rows."""
    good = make_raw([moving(), make_event(str(uuid.uuid4()), SESSION)], SESSION).SerializeToString()
    bad = ClosedRawBatch.FromString(good)
    event = bad.events.add()
    event.CopyFrom(ClosedEvent.FromString(moving().SerializeToString()))
    setattr(event, member, b"\xff")
    chunk = build(good, bad.SerializeToString(), good)
    assert [poison.offset for poison in chunk.poisons] == [1]
    assert chunk.poisons[0].reason is RejectReason.UNDECODABLE
    assert chunk.table["source_offset"].to_pylist() == [0, 0, 2, 2]
    assert chunk.table["source_index"].to_pylist() == [0, 1, 0, 1]
    assert [(record.row_first, record.row_end) for record in chunk.records] == [(0, 2), (2, 4)]


def test_a_message_in_two_halves_is_one_message() -> None:
    """A field that stands twice is merged, as any parser does."""
    event = make_event(str(uuid.uuid4()), SESSION, path="/first")
    more = Event(page={"title": "second"}).SerializeToString()
    value = make_raw([event], SESSION).SerializeToString()
    doubled = event.SerializeToString() + more
    facts = make_raw([], SESSION).SerializeToString()
    size = len(doubled)
    assert 127 < size < 16_384
    chunk = build(b"\x12" + bytes([size & 127 | 128, size >> 7]) + doubled + facts, value)
    assert chunk.table["path"].to_pylist() == ["/first", "/first"]
    assert chunk.table["title"].to_pylist()[0] == "second"
