"""Rows made of many records at once are the rows made of each."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.core.event_blocks import BlockBuilder
from flows.core.event_rows import EnrichedChunk, RowBuilder, block_table
from flows.core.raw_columns import read_columns
from schemas.event_types import EVENT_KINDS
from schemas.log import PolledBatch
from schemas.lookups import ParsedAgent, Place
from schemas.v1.closed_pb2 import ClosedRawBatch
from schemas.v1.common_pb2 import DeviceInfo, PageContext
from schemas.v1.events_pb2 import Event
from schemas.v1.pipeline_pb2 import RawBatch
from tests.factories import NOW_MS, PROJECT, make_event, make_raw, make_uuid
from tests.unit.flows.test_payloads import fill

PAGES = ("/", "/shop?utm_source=News&utm_campaign=a", "/#/route", "")


def parse_agent(text: str) -> ParsedAgent:
    """Says which text it was given."""
    return ParsedAgent(text=text, browser=text[:8])


def find_place(address: str) -> Place:
    """A country for some."""
    return Place("United Kingdom", "GB", "England", "London") if address else Place()


def plain_event(chance: random.Random, session: str) -> Event:
    """An event of any type with a payload as an encoder writes it."""
    kind = chance.choice(EVENT_KINDS)
    event = make_event(
        make_uuid(chance),
        session,
        kind=kind.number,
        at_ms=NOW_MS - chance.choice((0, 5, 90_000, 2**40)),
    )
    event.event_type = kind.number
    event.ClearField("page")
    event.page.CopyFrom(PageContext(url="https://a.test" + chance.choice(PAGES), title="A"))
    event.device.CopyFrom(DeviceInfo(user_agent=chance.choice(("", "own")), screen_width=5))
    if chance.random() < 0.3:
        event.user_id = chance.choice(("", "u1", "u2"))
    for name in ("anonymous_id", "page_view_id", "channel_type", "external_id", "handshake_token"):
        setattr(event, name, chance.choice(("", "", "x", "ü" * 70)))
    if chance.random() < 0.2:
        event.custom.update({"b": "2", "a": chance.choice(("", "1"))})
    if kind.payload is not None and chance.random() < 0.9:
        payload = getattr(event, kind.payload)
        payload.SetInParent()
        fill(payload, chance)
    return event


def odd_event(chance: random.Random, session: str) -> Event:
    """An event that is read one by one, or whose id must be made."""
    event = plain_event(chance, session)
    match chance.randrange(6):
        case 0:
            event.event_id = chance.choice(("", "e-1", make_uuid(chance).upper(), "x" * 36))
        case 1:
            event.ClearField("page")
            event.page.SetInParent()
        case 2:
            event.timestamp.millis = chance.choice((-1, 2**62, -(2**63), 2**63 - 1))
        case 3:
            event.event_type = chance.choice((0, -1, 999))
        case 4:
            event.ClearField("timestamp")
        case _:
            event.session_id = "other"
    return event


def plain_raw(chance: random.Random, events: list[Event], session: str) -> RawBatch:
    """A record as the gateway writes it."""
    raw = make_raw(events, session, client_ip=chance.choice(("", "203.0.113.7")))
    raw.sent_at = chance.choice((0, NOW_MS, NOW_MS - 10_000, 1, -5))
    raw.user_agent = chance.choice(("", "agent"))
    raw.event_count = chance.choice((0, len(events)))
    raw.retain_days = chance.choice((0, 90))
    return raw


def odd_value(chance: random.Random, value: bytes) -> bytes:
    """The record with something that encoders do not write, or broken."""
    match chance.randrange(5):
        case 0:
            return value + b"\x1a\x01x"  # A field once more.
        case 1:
            return value + b"\xfa\x7f\x01x"  # A field that nobody knows.
        case 2:
            raw = ClosedRawBatch.FromString(value)
            if raw.events:
                setattr(raw.events[0], chance.choice(("click", "mouse_move", "scroll")), b"\xff")
            return raw.SerializeToString()
        case 3:
            raw = ClosedRawBatch.FromString(value)
            field = chance.choice(("project_id", "received_at_ms", "retain_days", "event_count"))
            raw.ClearField(field)
            if field == "event_count":
                raw.event_count = -1
            return raw.SerializeToString()
        case _:
            damaged = bytearray(value)
            for _ in range(chance.randrange(1, 4)):
                at = chance.randrange(len(damaged))
                damaged[at : at + chance.randrange(2)] = bytes([chance.randrange(256)])
            return bytes(damaged)


def records(chance: random.Random, count: int, odd: float) -> list[bytes]:
    """Values of records; that part of them is odd in one way or another."""
    values = []
    for _ in range(count):
        session = chance.choice((make_uuid(chance), "some text"))
        events = [
            (odd_event if chance.random() < odd else plain_event)(chance, session)
            for _ in range(chance.choice((0, 1, 1, 3, 12)))
        ]
        value = plain_raw(chance, events, session).SerializeToString()
        values.append(odd_value(chance, value) if chance.random() < odd else value)
    return values


def polled(partition: int, values: list[bytes]) -> PolledBatch:
    """Records of one partition."""
    count = len(values)
    return PolledBatch(
        topic="gosight.events.raw",
        partition=partition,
        offsets=list(range(7, 7 + count)),
        values=values,
        keys=[f"{PROJECT}:s".encode()] * count,
        created_ms=[NOW_MS] * count,
        event_counts=[1] * count,
    )


def told(chunk: EnrichedChunk) -> dict[str, Any]:
    """All that a chunk says, comparable."""
    table = chunk.table
    return {
        "part": (chunk.topic, chunk.partition, chunk.first_offset, chunk.last_offset),
        "ids": list(chunk.event_ids),
        "records": list(chunk.records),
        "views": list(chunk.page_views),
        "poisons": list(chunk.poisons),
        "types": {name: str(table.schema.field(name).type) for name in table.column_names},
        "rows": {
            name: list(map(_comparable, table[name].to_pylist())) for name in table.column_names
        },
    }


def _comparable(value: Any) -> Any:
    return "nan" if isinstance(value, float) and math.isnan(value) else value


def compare(parts: list[PolledBatch]) -> None:
    """Both ways say the same."""
    found = BlockBuilder(parse_agent, find_place, records_min=1).build(parts)
    rows = RowBuilder(parse_agent, find_place)
    expected = [rows.build(part) for part in parts]
    for one, other in zip(found, expected, strict=True):
        assert told(one) == told(other)
    together, apart = block_table(found), block_table(expected)
    assert together.num_rows == sum(chunk.row_count for chunk in found)
    assert together["event_id"].to_pylist() == apart["event_id"].to_pylist()
    assert together["payload"].to_pylist() == apart["payload"].to_pylist()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.0, 0.05, 0.4]))
def test_any_records_give_the_same_rows(seed: int, odd: float) -> None:
    """Plain ones, odd ones, damaged ones; of one partition or of several."""
    chance = random.Random(seed)
    parts = [
        polled(number, records(chance, chance.randrange(1, 8), odd))
        for number in range(chance.randrange(1, 4))
    ]
    compare(parts)


def test_plain_records_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an encoder writes is plain; else all of it would be read one by one, and nobody knew."""
    chance = random.Random(3)
    builder = BlockBuilder(parse_agent, find_place, records_min=1)
    monkeypatch.setattr(RowBuilder, "build", lambda *_args: pytest.fail("read one by one"))
    for count in (1, 1, 1, 2, 5, 40, 200):
        values = records(chance, count, 0.0)
        (chunk,) = builder.build([polled(0, values)])
        assert len(chunk.records) == count
    assert read_columns([]) is not None


@pytest.mark.parametrize(
    "more",
    [
        b"\x1a\x01x",  # sent_at's neighbour as a text of another field: an unknown wire type.
        b"\x22\x01x\x22\x01y",  # sdk_version twice.
        b"\xfa\x7f\x01x",  # An unknown field.
        b"\x18\x80\x00",  # A number in a longer way.
        b"\x18\x00",  # A default that encoders leave out.
    ],
)
def test_what_no_encoder_writes_is_not_plain(more: bytes) -> None:
    """It may be legal, but columns would not say all of it."""
    chance = random.Random(4)
    session = make_uuid(chance)
    raw = make_raw([plain_event(chance, session)], session)
    raw.ClearField("sent_at")
    value = raw.SerializeToString()
    assert read_columns([value]) is not None
    assert read_columns([value, value + more]) is None


def test_two_payloads_in_one_event_are_not_plain() -> None:
    """The last one counts, which columns do not tell."""
    chance = random.Random(5)
    session = make_uuid(chance)
    event = make_event(make_uuid(chance), session)
    event.click.button = 1
    both = event.SerializeToString() + Event(scroll={"scroll_top": 5}).SerializeToString()
    facts = make_raw([], session).SerializeToString()
    size = len(both)
    assert 127 < size < 16_384
    value = b"\x12" + bytes([size & 127 | 128, size >> 7]) + both + facts
    assert read_columns([value]) is None
    compare([polled(0, [value])])


def test_rows_of_neighbours_are_not_copied_apart() -> None:
    """Chunks that were made together are one slice of their table; others are put together."""
    chance = random.Random(6)
    parts = [polled(number, records(chance, 6, 0.0)) for number in range(3)]
    builder = BlockBuilder(parse_agent, find_place, records_min=1)
    first, second, third = builder.build(parts)
    (other,) = builder.build([polled(5, records(chance, 6, 0.0))])
    assert block_table([second, third]).equals(
        first.block.slice(second.block_row, second.row_count + third.row_count)
    )
    mixed = block_table([first, other, third])
    assert mixed["event_id"].to_pylist() == [
        *first.event_ids,
        *other.event_ids,
        *third.event_ids,
    ]
    assert block_table([]).num_rows == 0
