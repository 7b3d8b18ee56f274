"""Bytes to messages and back, also when the bytes are damaged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from google.protobuf.descriptor import Descriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import (
    CodecError,
    assert_fast_protobuf,
    custom_json,
    decode_batch,
    decode_batch_as_sent,
    decode_raw,
    event_identity,
    normal_session_id,
    payload_json,
)
from schemas.payload_text import PAYLOAD_BUILDERS, object_builder, short_float
from schemas.utf8_repair import RepairError, repair_utf8
from schemas.v1.events_pb2 import Event, MouseMovePayload
from schemas.v1.ingest_pb2 import EventBatch
from schemas.v1.pipeline_pb2 import RawBatch

REPOSITORY = Path(__file__).parents[3]


def _batch() -> EventBatch:
    return EventBatch(
        project_key="key",
        sent_at=5,
        events=[
            Event(
                event_id="e1",
                session_id="s1",
                event_type="EVENT_TYPE_CLICK",
                page={"title": "TITLE", "query_params": {"q": "VALUE"}},
                click={"target": {"classes": ["CLASS"], "text": "TEXT"}},
            ),
            Event(event_id="e2", replay={"rrweb_type": 3, "data": b"\xff\xfe"}),
        ],
    )


def test_batch_of_the_usual_encoding_may_be_passed_on_as_it_came() -> None:
    """What an encoder writes is read whole and verbatim."""
    batch = _batch()
    found, is_verbatim = decode_batch_as_sent(batch.SerializeToString())
    assert found == batch
    assert is_verbatim


@pytest.mark.parametrize("place", [b"TITLE", b"VALUE", b"CLASS", b"TEXT", b"key", b"s1"])
def test_damaged_text_is_replaced_and_loses_nothing_else(place: bytes) -> None:
    """Invalid UTF-8 in any text leaves the rest of the batch as it was."""
    body = _batch().SerializeToString()
    damaged = body.replace(place, b"\xff" * len(place))
    found, is_verbatim = decode_batch_as_sent(damaged)
    assert not is_verbatim
    expected = _batch().SerializeToString(deterministic=True)
    repaired = found.SerializeToString(deterministic=True)
    mark = "\ufffd".encode()
    assert mark * len(place) in repaired
    assert len(repaired) >= len(expected)
    assert found.events[1] == _batch().events[1]


def test_truncated_character_is_not_passed_on_although_the_length_fits() -> None:
    """Three bytes of a cut emoji become one replacement of three bytes: still not verbatim."""
    body = EventBatch(sdk_version="abc").SerializeToString().replace(b"abc", b"\xf0\x9f\x98")
    found, is_verbatim = decode_batch_as_sent(body)
    assert found.sdk_version == "\ufffd"
    assert len(found.SerializeToString()) == len(body)
    assert not is_verbatim


def test_unknown_fields_are_dropped_at_every_depth() -> None:
    """A value in a field that we do not have must not travel on unseen."""
    unknown = b"\x9a\x3f\x06SECRET"  # Field 1011, length-delimited.
    event = Event(event_id="e1").SerializeToString() + unknown
    body = b"\x12" + bytes([len(event)]) + event + unknown
    found, is_verbatim = decode_batch_as_sent(body)
    assert not is_verbatim
    assert found == EventBatch(events=[Event(event_id="e1")])
    assert b"SECRET" not in found.SerializeToString()


@pytest.mark.parametrize(
    "body",
    [
        b"\x0a",
        b"\x0a\x05ab",
        b"\xff" * 11,
        b"\x0b",
        b"\x0c",
        b"\x12\x02\x0a\x05",
        b"\x0d\x01",
        b"{}",
    ],
)
def test_body_that_is_no_batch_raises(body: bytes) -> None:
    """Damaged framing is not repaired."""
    with pytest.raises(CodecError):
        decode_batch(body)


def test_repair_gives_up_on_deep_nesting() -> None:
    """The walker follows the descriptors, which can nest no deeper; its bound holds anyway."""
    with pytest.raises(RepairError):
        repair_utf8(b"", _descriptor(EventBatch.DESCRIPTOR), depth=17)


def _descriptor(descriptor: object) -> Descriptor:
    assert isinstance(descriptor, Descriptor)
    return descriptor


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_batch_or_an_error(body: bytes) -> None:
    """Reading never fails in another way, and what was read can be written and read again."""
    try:
        batch = decode_batch(body)
    except CodecError:
        return
    assert EventBatch.FromString(batch.SerializeToString()) is not None


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 200), st.integers(0, 255))
def test_one_changed_byte_never_breaks_the_reader(place: int, byte: int) -> None:
    """The repairing path meets every kind of damage and ends in a batch or a CodecError."""
    body = bytearray(_batch().SerializeToString())
    body[place % len(body)] = byte
    try:
        decode_batch(bytes(body))
    except CodecError:
        return


def test_repair_leaves_good_messages_alone() -> None:
    """Repairing what needs no repair gives the same message."""
    body = _batch().SerializeToString()
    repaired = repair_utf8(body, _descriptor(EventBatch.DESCRIPTOR))
    assert EventBatch.FromString(repaired) == _batch()


def test_raw_record_is_read_or_refused() -> None:
    """A record of the raw topic is a RawBatch or an error."""
    raw = RawBatch(project_id="p1", session_id="s1", events=[Event(event_id="e1")])
    assert decode_raw(raw.SerializeToString()) == raw
    with pytest.raises(CodecError):
        decode_raw(b"\xff")


def test_session_and_event_ids_of_a_record_follow_the_rules_of_identifiers() -> None:
    """Every flow gets the same ids from the same record."""
    raw = RawBatch(project_id="p1", session_id="s1")
    assert event_identity(raw, Event(event_id="k3j9x")) == "d7cd0f54-e5e0-57fb-b984-141502948fa7"
    assert event_identity(raw, Event(event_id="k3j9x", session_id="s2")) != event_identity(
        raw, Event(event_id="k3j9x", session_id="s1")
    )
    other = RawBatch(project_id="p2", session_id="s1")
    assert normal_session_id(raw) != normal_session_id(other)


def test_missing_event_id_does_not_depend_on_the_order_of_maps() -> None:
    """A retry that writes its properties in another order is the same event."""
    raw = RawBatch(project_id="p1", session_id="s1")
    pairs = [(f"key{number}", str(number)) for number in range(20)]
    first = Event(custom_event={"name": "a", "properties": dict(pairs)})
    second = Event(custom_event={"name": "a", "properties": dict(reversed(pairs))})
    assert event_identity(raw, first) == event_identity(raw, second)
    assert event_identity(raw, first) != event_identity(raw, Event(custom_event={"name": "b"}))


def test_stored_payload_has_sorted_keys_and_short_names() -> None:
    """Set fields and plain values appear; empty lists, maps and empty texts of parts do not."""
    event = Event(
        click={"position": {"x": 0, "y": -2}, "button": 2, "target": {"tag": "a", "href": ""}}
    )
    assert payload_json(event) == (
        '{"button":"right","position":{"x":0,"y":-2},"target":{"href":"","tag":"a"}}'
    )
    assert payload_json(Event(scroll={})) == (
        '{"direction":"down","page_height":0,"scroll_depth_percent":0,"scroll_depth_px":0,'
        '"scroll_top":0}'
    )
    assert payload_json(Event(form_start={})) == '{"field_count":0,"form_selector":""}'
    assert payload_json(Event(custom_event={"name": "a"})) == '{"name":"a"}'
    assert payload_json(Event()) == "{}"
    assert payload_json(Event(mouse_move={})) == "{}"


def test_enum_number_that_is_not_known_stays_a_number() -> None:
    """The back button of a mouse has no name in the protocol."""
    assert payload_json(Event(click={"button": 3})) == '{"button":3}'


def test_numbers_that_json_cannot_hold_become_null() -> None:
    """A stored payload is always JSON, whatever was accepted by an older version."""
    assert payload_json(Event(goal={"value": float("nan")})) == '{"name":"","value":null}'


def test_fast_builder_of_mouse_moves_equals_the_general_one() -> None:
    """The hand-written builder may not drift from the descriptors."""
    payload = MouseMovePayload(positions=[{"x": 1, "y": -2, "timestamp": 3}, {}])
    general = object_builder(_descriptor(MouseMovePayload.DESCRIPTOR))
    assert PAYLOAD_BUILDERS["mouse_move"](payload) == general(payload)
    assert list(general(payload)["positions"][0]) == ["timestamp", "x", "y"]


def test_custom_values_are_one_sorted_object() -> None:
    """Keys are sorted, so that equal maps have equal texts."""
    assert custom_json({"b": "2", "a": 'x"y'}) == '{"a":"x\\"y","b":"2"}'
    assert custom_json({}) == "{}"
    assert custom_json(Event(custom={"b": "2", "a": "1"}).custom) == '{"a":"1","b":"2"}'


@settings(deadline=None, max_examples=200)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_short_floats_lose_nothing(value: float) -> None:
    """The short form is the same 32-bit number, and no longer than it must be."""
    short = short_float(value)
    assert Event(scroll={"velocity": short}).scroll.velocity == value
    assert len(msgspec.json.encode(short)) <= len(msgspec.json.encode(value)) + 2


def test_fast_protobuf_is_in_use() -> None:
    """This environment has the implementation that production needs."""
    assert_fast_protobuf()


def test_slow_protobuf_refuses_to_start() -> None:
    """With the pure-Python implementation the check fails and says what to do."""
    code = "from schemas.codec import assert_fast_protobuf; assert_fast_protobuf()"
    environ = {**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "RuntimeError: protobuf runs on its 'python' implementation" in done.stderr
