"""Payloads read from their bytes are what the tables from the descriptors make of them."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.core.mouse_moves import mouse_move_json, mouse_moves_json
from flows.core.payload_columns import PayloadColumns
from flows.core.payloads import CELLS, payload_readers
from schemas.payload_text import payload_json
from schemas.v1.events_pb2 import Event, MouseMovePayload, MousePosition

MEMBERS = [field.name for field in Event.DESCRIPTOR.oneofs_by_name["payload"].fields]
NUMBERS = (0, 1, 7, 127, 128, 16_384, 2**31 - 1)


def fill(message: Message, chance: random.Random) -> None:
    """Give some fields of a message values, extreme ones among them."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() < 0.3:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name).update({"b": "2", "a": 'quote " and \n'})
        elif field.message_type is not None and field.is_repeated:
            for _ in range(chance.randrange(4)):
                fill(getattr(message, field.name).add(), chance)
        elif field.message_type is not None:
            inner = getattr(message, field.name)
            inner.SetInParent()
            fill(inner, chance)
        elif field.is_repeated:
            getattr(message, field.name).extend(["one", "zwei ü"])
        else:
            setattr(message, field.name, some_value(field, chance))


def some_value(field: FieldDescriptor, chance: random.Random) -> Any:
    """A value for a plain field."""
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            text = chance.choice(("", "text", "ü\u2028", "n" * 2_000))
            return text.encode() if field.type == field.TYPE_BYTES else text
        case FieldDescriptor.CPPTYPE_BOOL:
            return chance.random() < 0.5
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return chance.choice((0.0, 0.1, -1.5, 1e20, float("nan"), float("inf"), 123.456))
        case FieldDescriptor.CPPTYPE_ENUM:
            return chance.choice((0, 1, 2, 77))
        case _:
            return chance.choice(NUMBERS) * chance.choice((1, -1))


@pytest.mark.parametrize("member", MEMBERS)
def test_readers_write_what_the_tables_write(member: str) -> None:
    """For many payloads of each kind, each read twice so that the caches are read as well."""
    chance = random.Random(member)
    read = payload_readers()[member]
    for _ in range(120):
        event = Event()
        payload = getattr(event, member)
        payload.SetInParent()
        fill(payload, chance)
        value = payload.SerializeToString()
        for _ in range(2):
            text, cells = read(value)
            assert text == payload_json(event)
            columns, _make = CELLS.get(member, ((), None))
            assert len(columns) == len(cells or ())


def test_damaged_payloads_are_decode_errors() -> None:
    """Whatever the kind: the record is put aside with that reason."""
    for read in payload_readers().values():
        with pytest.raises(DecodeError):
            read(b"\xff")
    with pytest.raises(DecodeError):
        mouse_moves_json(pa.array([b"\x0a\x00", b"\xff"], pa.binary()))


def read_together(member: str, values: list[bytes]) -> list[tuple[str, tuple[Any, ...]]]:
    """Texts and cells of each payload."""
    reader = PayloadColumns(payload_readers())
    texts, columns = reader.read(member, pa.array(values, pa.binary()))
    cells = list(zip(*columns, strict=True)) if columns else [()] * len(values)
    return list(zip(texts.to_pylist(), cells, strict=True))


def filled(member: str, count: int, chance: random.Random) -> list[bytes]:
    """Payloads with values in some of their fields."""
    values = []
    for _ in range(count):
        payload = getattr(Event(), member)
        fill(payload, chance)
        values.append(payload.SerializeToString())
    return values


def read_apart(member: str, values: list[bytes]) -> list[tuple[str, tuple[Any, ...]]]:
    """The same by the readers of single payloads."""
    found = [payload_readers()[member](value) for value in values]
    return [(text, cells or ()) for text, cells in found]


@pytest.mark.parametrize("member", ["click", "scroll", "performance", "dom_mutation", "js_error"])
def test_payloads_together_are_payloads_one_by_one(member: str) -> None:
    """Extreme numbers, missing fields, texts of all kinds."""
    chance = random.Random(member)
    values = filled(member, 300, chance)
    assert repr(read_together(member, values)) == repr(read_apart(member, values))
    assert read_together(member, values[:1]) == read_apart(member, values[:1])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["click", "scroll"]), st.integers(0, 2**32))
def test_odd_bytes_of_payloads_are_read_as_a_parser_reads_them(member: str, seed: int) -> None:
    """Flipped, dropped, doubled and foreign bytes: the same, or an error where one is an error."""
    chance = random.Random(seed)
    values = filled(member, 3, chance)
    damaged = bytearray(values[1])
    at = chance.randrange(len(damaged) + 1)
    match chance.randrange(3):
        case 0:
            damaged[at : at + 1] = bytes([chance.randrange(256)])
        case 1:
            damaged += damaged[: chance.randrange(len(damaged) + 1)]
        case _:
            damaged[at:at] = bytes([chance.randrange(256) for _ in range(chance.randrange(1, 4))])
    values[1] = bytes(damaged)
    try:
        expected = repr(read_apart(member, values))
    except DecodeError:
        with pytest.raises(Exception, match=r"."):
            read_together(member, values)
        return
    try:
        found = repr(read_together(member, values))
    except ValueError:
        return  # All of them are then read one by one.
    assert found == expected


positions = st.lists(
    st.builds(
        MousePosition,
        x=st.integers(-(2**31), 2**31 - 1) | st.integers(0, 200),
        y=st.integers(-(2**31), 2**31 - 1) | st.integers(0, 200),
        timestamp=st.integers(-(2**63), 2**63 - 1) | st.integers(0, 40_000),
    ),
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(positions, max_size=8))
def test_mouse_moves_together_are_mouse_moves_one_by_one(moves: list[list[MousePosition]]) -> None:
    """Any numbers, any lengths, empty ones between them."""
    values = [MouseMovePayload(positions=some).SerializeToString() for some in moves]
    column = pa.array([b"\x00", *values], pa.binary())[1:]
    assert mouse_moves_json(column).to_pylist() == [mouse_move_json(value) for value in values]


@settings(max_examples=500, deadline=None)
@given(st.lists(positions, min_size=1, max_size=4), st.integers(0, 2**32))
def test_odd_bytes_of_mouse_moves_are_read_as_a_parser_reads_them(
    moves: list[list[MousePosition]], seed: int
) -> None:
    """Flipped, dropped and doubled bytes: the same text, or the same error."""
    chance = random.Random(seed)
    values = [MouseMovePayload(positions=some).SerializeToString() for some in moves]
    place = chance.randrange(len(values))
    damaged = bytearray(values[place] or b"\x0a\x00")
    for _ in range(chance.randrange(1, 3)):
        at = chance.randrange(len(damaged)) if damaged else 0
        match chance.randrange(3):
            case 0 if damaged:
                damaged[at] = chance.choice((0x0A, 0x08, 0x10, 0x18, 0x20, 0x80, 0xFF, 0, 1, 2))
            case 1:
                del damaged[at : at + 1]
            case _:
                damaged[at:at] = damaged[at : at + chance.randrange(6)]
    values[place] = bytes(damaged)
    try:
        expected: list[str] | None = [mouse_move_json(value) for value in values]
    except DecodeError:
        expected = None
    try:
        found: list[str] | None = mouse_moves_json(pa.array(values, pa.binary())).to_pylist()
    except DecodeError:
        found = None
    assert found == expected
