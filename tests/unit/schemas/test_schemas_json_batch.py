"""Batches in JSON, good and bad. Their dialects are tested in test_schemas_json_dialects."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import CodecError
from schemas.event_types import NUMBER_BY_NAME
from schemas.json_batch import (
    JsonBatchError,
    JsonFault,
    batch_from_json,
    batch_to_json,
)
from schemas.json_bounds import DEPTH_MAX, nesting_exceeds
from schemas.reasons import RejectReason
from schemas.v1.events_pb2 import Event


def _read(event: Any, **batch: Any) -> Event | JsonFault:
    (found,) = batch_from_json(json.dumps({**batch, "events": [event]}).encode()).events
    return found


def _event(event: Any, **batch: Any) -> Event:
    found = _read(event, **batch)
    assert isinstance(found, Event), found
    return found


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"x", b"{", b"[]", b"5", b"null", b'"a"', b"{}", b'{"events":{}}'),
        *(b'{"events":null}', b'{"events":[}', b'{"events":[]}}', b'{"events":[]', b'{"events":5}'),
    ],
)
def test_body_that_is_no_batch_raises(body: bytes) -> None:
    """No JSON, no object, no list of events."""
    with pytest.raises(JsonBatchError):
        batch_from_json(body)
    assert issubclass(JsonBatchError, CodecError)


def test_bad_event_does_not_sink_its_neighbours() -> None:
    """Order and number of events stay as they were in the body."""
    good = {"type": "click", "event_id": "good"}
    bad = {"type": "click", "event_id": "bad", "payload": {"position": {"x": "left"}}}
    body = json.dumps({"session_id": "s", "events": [good, bad, 5, None, good]}).encode()
    first, second, third, fourth, last = batch_from_json(body).events
    assert isinstance(first, Event)
    assert isinstance(last, Event)
    for fault in (second, third, fourth):
        assert isinstance(fault, JsonFault)
        assert fault.reason is RejectReason.BAD_PAYLOAD
    assert isinstance(second, JsonFault)
    assert second.detail == "payload.position.x: must be a number"
    assert (second.event_id, second.session_id) == ("bad", "s")


def test_refused_event_can_be_sent_again_alone() -> None:
    """Its JSON holds what it had from its batch."""
    bad = {"type": "clack", "event_id": "e", "timestamp": 5}
    shared = {"session_id": "s", "page": {"path": "/a"}, "device": {"os": "X"}, "custom": {"k": 1}}
    fault = _read(bad, **shared)
    assert isinstance(fault, JsonFault)
    assert fault.reason is RejectReason.UNKNOWN_EVENT_TYPE
    original = msgspec.json.decode(fault.original)
    assert original == {**shared, **bad}
    repaired = _event({**original, "type": "click"})
    assert repaired == _event({**bad, "type": "click"}, **shared)


@pytest.mark.parametrize(
    "own",
    [
        {"url": "https://b.example/"},
        {"page": {"path": "/b"}},
        {"page": {}, "title": "B"},
        {"page": {}},
        {"sessionId": "t"},
        {"session_id": "", "sessionId": "t"},
        {"session_id": ""},
        {"session_id": 0, "anonymousId": "v"},
        {"device": {"browser": "Y", "screenWidth": 2}},
        {"device": 5},
        {"custom": {"k": 2, "m": None}},
        {"session_id": None, "page": None, "device": None, "custom": None},
    ],
)
def test_refused_event_says_alone_what_it_said_in_its_batch(own: dict[str, Any]) -> None:
    """What it says itself wins over its batch there as it does here, however it is spelled."""
    shared = {
        "session_id": "s",
        "anonymous_id": "a",
        "page": {"url": "https://a.example/", "title": "A"},
        "device": {"os": "X", "screen_width": 1},
        "custom": {"k": 1, "l": 1},
    }
    fault = _read({"type": "clack", "timestamp": 5, **own}, **shared)
    assert isinstance(fault, JsonFault)
    repaired = _event({**msgspec.json.decode(fault.original), "type": "click"})
    assert repaired == _event({"type": "click", "timestamp": 5, **own}, **shared)


def test_detail_never_quotes_the_value() -> None:
    """Details go to logs and answers."""
    for payload in ({"position": {"x": "zzSECRETzz"}}, {"button": "zzSECRETzz"}, "zzSECRETzz"):
        fault = _read({"type": "click", "payload": payload})
        assert isinstance(fault, JsonFault)
        assert "SECRET" not in fault.detail


@pytest.mark.parametrize("member", ["input_change", "input_focus", "input_blur"])
@pytest.mark.parametrize("value", ["typed", "••••", 0, False, ["a"]])
def test_typed_values_are_refused_wherever_they_stand(member: str, value: Any) -> None:
    """On the event, in the payload, in the target and in its attributes."""
    target = {"tag": "input"}
    for event in (
        {"type": member, "value": value},
        {"type": member, "payload": {"value": value}},
        {"type": member, "payload": {"target": {**target, "value": value}}},
        {"type": member, "payload": {"target": {**target, "attributes": {"value": value}}}},
    ):
        fault = _read(event)
        assert isinstance(fault, JsonFault)
        assert fault.reason is RejectReason.RAW_VALUE


def test_empty_value_is_no_value() -> None:
    """An empty field carries nothing that could leak."""
    for value in (None, ""):
        assert isinstance(_read({"type": "input_focus", "payload": {"value": value}}), Event)


def test_texts_with_half_an_emoji_or_bad_bytes_do_not_lose_the_batch() -> None:
    """Browsers cut texts in the middle of surrogate pairs."""
    body = b'{"events":[{"type":"click","title":"a\\ud83d","user_id":"\xff"},{"type":"click"}]}'
    first, second = batch_from_json(body).events
    assert isinstance(first, Event)
    assert isinstance(second, Event)
    assert first.page.title == "a\ufffd"
    assert first.user_id == "\ufffd"
    body = b'\xef\xbb\xbf{"events":[{"type":"click","user_id":"\\ud83d\\ude00\x01"}]}'
    (event,) = batch_from_json(body).events
    assert isinstance(event, Event)
    assert event.user_id == "😀\x01"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "-1e999"])
def test_numbers_that_are_none_refuse_their_event_only(number: str) -> None:
    """Not JSON, but sent; the neighbours are kept."""
    body = (
        f'{{"events":[{{"type":"scroll","payload":{{"velocity":{number}}}}},{{"type":"click"}}]}}'
    )
    fault, event = batch_from_json(body.encode()).events
    assert isinstance(fault, JsonFault)
    assert fault.reason is RejectReason.BAD_PAYLOAD
    assert isinstance(event, Event)


def test_too_many_events_cost_no_more() -> None:
    """One more than the limit is enough to see that there are too many."""
    body = json.dumps({"events": [{"type": "click"}] * 50}).encode()
    assert len(batch_from_json(body, events_max=10).events) == 11
    assert len(batch_from_json(body).events) == 50


def _nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def test_nesting_is_limited() -> None:
    """Exactly the limit is read, one more is refused."""
    inside = DEPTH_MAX - 3  # Batch, events, event.
    body = b'{"events":[{"type":"click","custom":%s}]}'
    batch_from_json(body % (b'{"a":' + _nested(inside - 1) + b"}"))
    with pytest.raises(JsonBatchError, match="nested"):
        batch_from_json(body % (b'{"a":' + _nested(inside) + b"}"))
    with pytest.raises(JsonBatchError):
        batch_from_json(b"[" * 1_000_000)


def test_brackets_in_texts_do_not_count() -> None:
    """Neither do they deepen nor flatten the nesting, however quotes are escaped."""
    text = json.dumps("[{" * 50 + '"\\' + "}]" * 80)
    assert not nesting_exceeds(b'{"a":' + text.encode() + b"}", 1)
    hidden = b'{"\\\\":{"}":{"}":{}}}}'
    assert nesting_exceeds(hidden, 3)
    assert not nesting_exceeds(hidden, 4)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


@settings(deadline=None, max_examples=200)
@given(JSON, st.integers(1, 6))
def test_nesting_agrees_with_the_parsed_document(document: Any, depth_max: int) -> None:
    """The count on the bytes is the depth of the document."""
    body = json.dumps(document).encode()
    assert nesting_exceeds(body, depth_max) is (_depth(document) > depth_max)


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(item) for item in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(item) for item in value), default=0)
    return 0


EVENT_KEYS = st.sampled_from(
    [
        *("type", "event_type", "timestamp", "session_id", "payload", "page", "device", "custom"),
        *("url", "eventId", "value"),
    ]
)
PAYLOAD_KEYS = st.sampled_from(
    [
        *("x", "y", "position", "target", "button", "positions", "metric", "value", "reason"),
        *("properties", "traits", "name", "args", "data", "lcp", "line", "scroll_depth_percent"),
    ]
)
EVENTS = st.builds(
    lambda name, fields, payload: {**fields, "event_type": name, "payload": payload},
    st.sampled_from([*NUMBER_BY_NAME, "custom", "tap"]),
    st.dictionaries(EVENT_KEYS, JSON, max_size=5),
    st.dictionaries(PAYLOAD_KEYS, JSON, max_size=5) | JSON,
)


@settings(deadline=None, max_examples=300)
@given(st.lists(EVENTS | JSON, max_size=3), st.dictionaries(EVENT_KEYS, JSON, max_size=4))
def test_any_json_gives_an_event_or_a_fault_for_each_item(
    events: list[Any], shared: dict[str, Any]
) -> None:
    """Reading never fails in another way; what was read survives bytes and canonical JSON."""
    body = json.dumps({**shared, "events": events}).encode()
    found = batch_from_json(body).events
    assert len(found) == len(events)
    for event in found:
        if isinstance(event, JsonFault):
            assert event.detail
            msgspec.json.decode(event.original)
            continue
        again = Event.FromString(event.SerializeToString())
        canonical = batch_to_json([again])
        (read,) = batch_from_json(canonical).events
        assert isinstance(read, Event)
        assert batch_to_json([read]) == canonical


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_a_batch_or_an_error(body: bytes) -> None:
    """Nothing but JsonBatchError leaves the reader."""
    for text in (body, b'{"events":[' + body + b"]}"):
        try:
            batch_from_json(text)
        except JsonBatchError:
            continue
