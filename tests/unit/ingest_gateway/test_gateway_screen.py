"""What passes at a glance is what the whole judgement takes unchanged, and nothing else."""

from __future__ import annotations

import random
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_gateway.decode import DecodeLimits, decode
from ingest_gateway.errors import RefusedError
from ingest_gateway.judge import Project, judge
from ingest_gateway.request import BodyForm
from ingest_gateway.screen import Screen, Screened
from schemas.event_types import ERROR_TYPES, EVENT_KINDS, NUMBER_BY_NAME
from schemas.v1.closed_pb2 import (
    ClosedClick,
    ClosedEvent,
    ClosedRawBatch,
    GlanceBatch,
    GlanceEvent,
)
from schemas.v1.events_pb2 import ClickPayload, Event, EventType, MousePosition
from schemas.v1.ingest_pb2 import EventBatch
from schemas.v1.pipeline_pb2 import RawBatch
from tests.gateway_world import make_batch, make_key, now_ms

SETTINGS = ({}, {"privacy": {"level": 3}}, {"events": {"mouse": False}})
EVENTS_MAX = 500
# What a batch may have in it that keeps it from passing, and what does not.
TEXTS = ("", "plain", "anna@example.com", "x\0y", "n" * 300, "n" * 3_000, "4111 1111 1111 1111")


def look(body: bytes, document: dict[str, object] | None = None) -> Screened | None:
    """What a fresh screen says."""
    project = Project.of(make_key(settings=document or {}))
    screen = Screen(project.settings.privacy)
    return screen.look(body, project.payloads, now_ms(), EVENTS_MAX)


def fill(event: Event, chance: random.Random) -> None:
    """Change something in an event."""
    text = chance.choice(TEXTS)
    match chance.randrange(14):
        case 0:
            event.page.title = text
        case 1:
            event.page.url = f"https://shop.example/?q={text}"
        case 2:
            event.device.language = text
        case 3:
            event.anonymous_id = text
        case 4:
            event.custom["key"] = text
        case 5:
            event.click.target.text = text
        case 6:
            event.click.target.attributes["value"] = text
        case 7:
            event.timestamp.millis = chance.choice((-1, 0, 1, now_ms() + 10**9))
        case 8:
            event.event_type = chance.choice(EVENT_KINDS).number
        case 9:
            event.session_id = text
        case 10:
            event.scroll.scroll_depth_percent = chance.choice((0, 100, 101))
            event.event_type = 30
        case 11 | 12:
            event.dom_mutation.kinds.extend(
                chance.choices(("mutation", "dialog", text), k=chance.choice((0, 1, 60)))
            )
            event.dom_mutation.click_event_id = chance.choice(("", str(uuid4()), "a\0", text))
            event.event_type = NUMBER_BY_NAME["dom_mutation"]
        case _:
            event.js_error.message = text
            event.event_type = 60


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 3), st.sampled_from(SETTINGS))
def test_what_passes_is_what_judge_takes_whole(
    seed: int, changes: int, document: dict[str, object]
) -> None:
    """Each batch that passes is accepted by `judge` in whole, unchanged, with the same errors."""
    chance = random.Random(seed)
    batch = make_batch(4)
    for _ in range(changes):
        fill(chance.choice(batch.events), chance)
    if changes == 3:
        batch.sdk_version = chance.choice(TEXTS)
    body = batch.SerializeToString()
    project = Project.of(make_key(settings=document))
    at_ms = now_ms()
    seen = Screen(project.settings.privacy).look(body, project.payloads, at_ms, EVENTS_MAX)
    decoded = decode(body, BodyForm.PROTOBUF, DecodeLimits())
    judged = judge(decoded, project, at_ms, opted_out=False)
    if seen is not None:
        assert judged.is_whole
        assert not judged.is_changed
        assert decoded.verbatim == body
        assert not judged.replay
        assert seen.event_count == len(judged.accepted)
        assert seen.errors == judged.errors
        assert seen.session_id == judged.accepted[0].session_id
    elif judged.is_whole and not judged.is_changed and not changes:
        raise AssertionError("an ordinary batch does not pass")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_bytes_that_say_more_do_not_pass(seed: int) -> None:
    """Flipped, cut and doubled bytes pass only if the decoded batch says all that they say."""
    chance = random.Random(seed)
    body = bytearray(make_batch(3).SerializeToString())
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(len(body))
        match chance.randrange(3):
            case 0:
                body[place] = chance.randrange(256)
            case 1:
                del body[place]
            case _:
                body[place:place] = body[place : place + chance.randrange(20)]
    seen = look(bytes(body))
    if seen is None:
        return
    decoded = decode(bytes(body), BodyForm.PROTOBUF, DecodeLimits())
    assert decoded.verbatim == bytes(body)
    judged = judge(decoded, Project.of(make_key()), now_ms(), opted_out=False)
    assert judged.is_whole
    assert not judged.is_changed


def _doubled(batch: EventBatch) -> bytes:
    """The page of the first event stands twice: a parser merges, bytes are the last."""
    event = batch.events[0].SerializeToString() + Event(page={"path": "/b"}).SerializeToString()
    return b"\x12" + _varint(len(event)) + event


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _unknown_inside(batch: EventBatch) -> bytes:
    """An unknown field inside of the target of a click."""
    glanced = GlanceBatch.FromString(batch.SerializeToString())
    glanced.events[1].click.target += b"\xfa\x3f\x03abc"
    return glanced.SerializeToString()


def _unknown_in_position(batch: EventBatch) -> bytes:
    """An unknown field inside of a position of the mouse."""
    event = batch.events[1]
    event.event_type = EventType.EVENT_TYPE_MOUSE_MOVE
    position = MousePosition.FromString(b"\x08\x01\x10\x02\xfa\x3f\x03abc")
    event.mouse_move.positions.append(position)
    return batch.SerializeToString()


@pytest.mark.parametrize(
    "make",
    [
        _doubled,
        _unknown_inside,
        _unknown_in_position,
        lambda batch: batch.SerializeToString() + b"\xfa\x3f\x03abc",
        lambda batch: batch.SerializeToString() + EventBatch(project_key="k").SerializeToString(),
        lambda batch: b"",
        lambda batch: b"\x12\x00",
        lambda batch: b"\xff",
        lambda batch: batch.SerializeToString() + make_batch(1).SerializeToString(),
    ],
)
def test_odd_bytes_do_not_pass(make: object) -> None:
    """Fields that stand twice, unknown ones, keys, other sessions and damage are for `judge`."""
    assert look(make_batch(2).SerializeToString()) is not None
    assert callable(make)
    assert look(make(make_batch(2))) is None


def test_too_many_events_do_not_pass() -> None:
    """The bound of events holds at a glance, too."""
    batch = make_batch(1)
    session = batch.events[0].session_id
    batch.events.extend(make_batch(EVENTS_MAX // 10, session).events)
    body = batch.SerializeToString()
    project = Project.of(make_key())
    screen = Screen(project.settings.privacy)
    assert screen.look(body, project.payloads, now_ms(), len(batch.events)) is not None
    assert screen.look(body, project.payloads, now_ms(), len(batch.events) - 1) is None


def test_errors_are_found() -> None:
    """The events that are copied to the topic of errors come with what was seen."""
    batch = make_batch(3)
    batch.events[1].ClearField("click")
    batch.events[1].event_type = next(iter(ERROR_TYPES))
    batch.events[1].js_error.message = "x is undefined"
    batch.events[1].event_type = 60
    seen = look(batch.SerializeToString())
    assert seen is not None
    assert seen.errors == [batch.events[1]]


def _oneof_name(field: Any) -> str:
    """The oneof that a field belongs to; protobuf makes one with `_` for each optional field."""
    name = field.containing_oneof.name if field.containing_oneof is not None else ""
    return "" if name.startswith("_") else name


def test_closed_messages_have_the_fields_of_the_open_ones() -> None:
    """Number, name, repetition and place in the oneof agree; messages are bytes, enums numbers."""
    for closed, opened in (
        (ClosedEvent, Event),
        (ClosedClick, ClickPayload),
        (GlanceEvent, Event),
        (GlanceBatch, EventBatch),
        (ClosedRawBatch, RawBatch),
    ):
        fields = {field.number: field for field in opened.DESCRIPTOR.fields}
        left_out = {"custom"} if closed is GlanceEvent else set()
        known = {field.name for field in closed.DESCRIPTOR.fields}
        assert known == {field.name for field in fields.values()} - left_out
        for field in closed.DESCRIPTOR.fields:
            other = fields[field.number]
            assert field.name == other.name
            assert field.is_repeated == other.is_repeated
            assert _oneof_name(field) == _oneof_name(other)
            if field.type == field.TYPE_MESSAGE:
                names = {"ClickPayload": "ClosedClick", "Event": "ClosedEvent|GlanceEvent"}
                expected = names.get(other.message_type.name, other.message_type.name)
                assert field.message_type.name in expected.split("|")
            elif field.type == field.TYPE_BYTES:
                assert other.type in (other.TYPE_MESSAGE, other.TYPE_BYTES)
            elif field.type == field.TYPE_INT32:
                assert other.type in (other.TYPE_INT32, other.TYPE_ENUM)
            else:
                assert field.type == other.type


def test_damaged_batches_are_refused_by_the_decoder() -> None:
    """What does not pass because it cannot be read is refused as before."""
    with pytest.raises(RefusedError):
        decode(b"\xff", BodyForm.PROTOBUF, DecodeLimits())
