"""The JSON form of events in all its dialects. Refused events are in schemas/examples."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.json_batch import (
    JsonFault,
    batch_from_json,
    batch_to_json,
    event_to_json,
)
from schemas.reasons import RejectReason
from schemas.v1.events_pb2 import Event

TIME = 1_795_255_931_904


def _read(event: Any, **batch: Any) -> Event | JsonFault:
    (found,) = batch_from_json(json.dumps({**batch, "events": [event]}).encode()).events
    return found


def _event(event: Any, **batch: Any) -> Event:
    found = _read(event, **batch)
    assert isinstance(found, Event), found
    return found


def _payload(event_type: str, payload: Any) -> dict[str, Any]:
    event = event_to_json(_event({"event_type": event_type, "payload": payload}))
    found: dict[str, Any] = event["payload"]
    return found


def test_batch_level_fields_are_read_in_both_spellings() -> None:
    """Canonical names win over camelCase."""
    body = b'{"projectKey":"k","sentAt":5,"sdkVersion":"1","events":[]}'
    batch = batch_from_json(body)
    assert (batch.project_key, batch.sent_at, batch.sdk_version) == ("k", 5, "1")
    body = b'{"projectKey":"k","project_key":"K","sent_at":7,"sentAt":5,"events":[]}'
    batch = batch_from_json(body)
    assert (batch.project_key, batch.sent_at, batch.sdk_version, batch.events) == ("K", 7, "", [])


@pytest.mark.parametrize("sent_at", [None, "5", [], True, {}])
def test_unreadable_send_time_is_no_send_time(sent_at: Any) -> None:
    """Without it there is no correction of clocks; the batch is kept."""
    body = json.dumps({"sent_at": sent_at, "events": []}).encode()
    assert batch_from_json(body).sent_at == 0


def test_shared_fields_go_to_events_that_lack_them() -> None:
    """Ids and page as a whole, device and custom key by key; the event's own always wins."""
    shared = {
        "session_id": "s",
        "userId": "u",
        "anonymous_id": "a",
        "page": {"url": "/shared", "title": "Shared"},
        "device": {"browser": "Chrome", "screenWidth": 100},
        "custom": {"plan": "basic", "n": 1},
    }
    lacking = _event({"type": "click"}, **shared)
    assert (lacking.session_id, lacking.user_id, lacking.anonymous_id) == ("s", "u", "a")
    assert (lacking.page.url, lacking.page.title) == ("/shared", "Shared")
    assert (lacking.device.browser, lacking.device.screen_width) == ("Chrome", 100)
    assert dict(lacking.custom) == {"plan": "basic", "n": "1"}
    own = {
        "type": "click",
        "session_id": "own",
        "user_id": None,
        "page": {"url": "/own"},
        "device": {"browser": "Firefox"},
        "custom": {"n": 2},
    }
    having = _event(own, **shared)
    assert (having.session_id, having.user_id) == ("own", "u")
    assert (having.page.url, having.page.title) == ("/own", "")
    assert (having.device.browser, having.device.screen_width) == ("Firefox", 100)
    assert dict(having.custom) == {"plan": "basic", "n": "2"}
    assert not lacking.HasField("timestamp")


def test_shared_fields_of_the_wrong_shape_are_as_good_as_none() -> None:
    """They would sink all events of the batch."""
    shared = {"session_id": {}, "page": [], "device": 5, "custom": "x", "user_id": 7}
    event = _event({"type": "click"}, **shared)
    assert event == Event(event_type="EVENT_TYPE_CLICK", user_id="7")


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ({"event_type": "click"}, "click"),
        ({"type": "click"}, "click"),
        ({"eventType": "EVENT_TYPE_CLICK"}, "click"),
        ({"event_type": 20}, "click"),
        ({"event_type": "custom"}, "custom_event"),
        ({"event_type": "EVENT_TYPE_CUSTOM"}, "custom_event"),
        ({"event_type": "EVENT_TYPE_WEBSOCKET"}, "websocket_open"),
        ({"event_type": "scroll", "type": "click"}, "scroll"),
    ],
)
def test_spellings_of_the_type(name: dict[str, Any], stored: str) -> None:
    """Three dialects name the type in three ways."""
    assert event_to_json(_event(name))["event_type"] == stored


def test_ids_and_page_on_the_event_itself() -> None:
    """camelCase ids, and the page's fields without a page around them."""
    event = _event(
        {
            "type": "click",
            "eventId": "e",
            "sessionId": "s",
            "session_id": "S",
            "userId": 17,
            "pageViewId": "v",
            "url": "/u",
            "path": "/p",
            "title": "T",
            "referrer": "/r",
            "timestamp": TIME + 0.0,
        }
    )
    assert (event.event_id, event.session_id, event.user_id) == ("e", "S", "17")
    assert (event.page_view_id, event.timestamp.millis) == ("v", TIME)
    page = event.page
    assert (page.url, page.path, page.title, page.referrer) == ("/u", "/p", "T", "/r")
    mixed = _event({"type": "click", "url": "/u", "page": {"url": "/own", "path": None}})
    assert (mixed.page.url, mixed.page.path) == ("/own", "")


def test_device_in_camel_case_with_a_bad_field() -> None:
    """What the device says is a help: a bad field is left out and the event kept."""
    device = {
        "userAgent": "UA",
        "browserVersion": 120,
        "deviceType": "mobile",
        "screenWidth": "wide",
        "viewportWidth": 390.4,
        "devicePixelRatio": 3,
    }
    found = _event({"type": "click", "device": device}).device
    assert (found.user_agent, found.browser_version, found.device_type) == ("UA", "120", 3)
    assert (found.screen_width, found.viewport_width, found.device_pixel_ratio) == (0, 390, 3)
    assert _event({"type": "click", "device": {"device_type": "tv"}}).device.device_type == 0


@pytest.mark.parametrize(
    ("event_type", "given", "stored"),
    [
        ("click", {"x": 1, "y": 2}, {"button": "left", "position": {"x": 1, "y": 2}}),
        (
            "click",
            {"x": 1, "y": 2, "position": None},
            {"button": "left", "position": {"x": 1, "y": 2}},
        ),
        ("click", {"x": 9, "position": {"y": 2}}, {"button": "left", "position": {"x": 0, "y": 2}}),
        ("click", {"button": 2}, {"button": "right"}),
        ("click", {"button": "MOUSE_BUTTON_MIDDLE"}, {"button": "middle"}),
        ("click", {"domObserved": False}, {"button": "left", "dom_observed": False}),
        ("click", {"unknown": {"deep": []}, "target": None}, {"button": "left"}),
        (
            "click",
            {"position": {"x": 10.6, "y": 3_000_000_000}},
            {"button": "left", "position": {"x": 11, "y": 2_147_483_647}},
        ),
        (
            "click",
            {"target": {"attributes": {"disabled": None, "data-gosight-n": 1}}},
            {"button": "left", "target": {"attributes": {"data-gosight-n": "1"}}},
        ),
        (
            "mouse_move",
            {"positions": [{"x": 1, "y": 2, "t": 3}]},
            {"positions": [{"timestamp": 3, "x": 1, "y": 2}]},
        ),
        (
            "js_error",
            {"message": "m", "source": "a.js", "line": 3, "column": 4, "errorType": "TypeError"},
            {
                "colno": 4,
                "error_type": "TypeError",
                "filename": "a.js",
                "lineno": 3,
                "message": "m",
            },
        ),
        (
            "unhandled_rejection",
            {"reason": {"code": 5}},
            {"error_type": "UnhandledRejection", "message": '{"code":5}'},
        ),
        (
            "web_vitals",
            {"lcp": 1, "fid": 2, "cls": 0.1, "fcp": 4, "inp": 5, "ttfb": 6},
            {
                "cumulative_layout_shift": 0.1,
                "first_contentful_paint": 4,
                "first_input_delay": 2,
                "interaction_to_next_paint": 5,
                "largest_contentful_paint": 1,
                "ttfb": 6,
            },
        ),
        ("web_vitals", {"metric": "LCP", "value": 12.5}, {"largest_contentful_paint": 12}),
        ("web_vitals", {"metric": "CLS", "value": 0.25}, {"cumulative_layout_shift": 0.25}),
        ("web_vitals", {"metric": "XYZ", "value": 1}, {}),
        (
            "page_load",
            {"loadComplete": 9, "domContentLoaded": 8},
            {"dom_content_loaded": 8, "load_complete": 9},
        ),
        (
            "custom_event",
            {
                "name": "a",
                "properties": {"t": True, "n": 3, "f": 99.99, "z": None, "o": {"b": [1]}},
            },
            {
                "name": "a",
                "properties": {"f": "99.99", "n": "3", "o": '{"b":[1]}', "t": "true", "z": "null"},
            },
        ),
        (
            "identify",
            {"userId": 5, "traits": {"vip": False}},
            {"traits": {"vip": "false"}, "user_id": "5"},
        ),
        (
            "console_error",
            {"message": "m", "args": ["a", 1, {"b": 2}]},
            {"args": ["a", "1", '{"b":2}'], "message": "m"},
        ),
        ("page_hidden", None, None),
    ],
)
def test_dialects_of_payloads(event_type: str, given: Any, stored: Any) -> None:
    """Every alias is read and none is written."""
    event = _event({"event_type": event_type, "payload": given})
    assert event_to_json(event).get("payload") == stored


def test_scroll_depth_has_two_names() -> None:
    """The canonical one wins."""
    assert _payload("scroll", {"depth_percent": 40})["scroll_depth_percent"] == 40
    both = {"depth_percent": 40, "scroll_depth_percent": 50}
    assert _payload("scroll", both)["scroll_depth_percent"] == 50


def test_payload_of_a_type_without_one_is_ignored() -> None:
    """Unknown keys are ignored, and so is a whole payload that no one asked for."""
    event = _event({"event_type": "copy", "payload": {"text": "secret"}})
    assert event.WhichOneof("payload") is None


def test_value_of_other_events_is_their_own() -> None:
    """A goal has a value; a metric has one."""
    assert _payload("goal", {"name": "g", "value": 5})["value"] == 5


def test_huge_whole_numbers_saturate() -> None:
    """Numbers beyond the field become its limit; times beyond it are bad."""
    assert _payload("memory", {"used_js_heap": 10**30, "total_js_heap": -(10**30)}) == {
        "total_js_heap": -(2**63),
        "used_js_heap": 2**63 - 1,
    }
    fault = _read({"type": "click", "timestamp": 10**30})
    assert isinstance(fault, JsonFault)
    assert fault.reason is RejectReason.BAD_TIMESTAMP


def test_written_batch_is_canonical() -> None:
    """Absent fields are left out, and the batch is read back as it was."""
    event = _event({"type": "click", "timestamp": TIME, "session_id": "s", "url": "/a"})
    body = batch_to_json([event], project_key="k", sent_at=TIME)
    assert body == (
        b'{"project_key":"k","sent_at":%d,"events":[{"session_id":"s","event_type":"click",'
        b'"timestamp":%d,"page":{"url":"/a"}}]}' % (TIME, TIME)
    )
    batch = batch_from_json(body)
    assert (batch.project_key, batch.sent_at, batch.events) == ("k", TIME, [event])


def test_empty_parts_are_not_written() -> None:
    """An empty page or device says nothing."""
    event = _event({"type": "click"}, page={}, device={"device_type": "tv"})
    assert event.HasField("page")
    assert event_to_json(event) == {"event_type": "click"}
