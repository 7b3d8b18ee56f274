"""POST /v1/events as JSON: the same meaning as protobuf, answered as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.v1.ingest_pb2 import EventBatch
from tests.gateway_world import WRITE_KEY, World, make_key, now_ms


def view(**changes: Any) -> dict[str, Any]:
    """One page view."""
    event = {
        "event_id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        "session_id": "s-1",
        "event_type": "page_view",
        "timestamp": now_ms(),
        "page": {"url": "https://shop.example/cart", "path": "/cart"},
    }
    return {**event, **changes}


async def post(world: World, document: Any, status: int = 202, **headers: str) -> dict[str, Any]:
    """POST a JSON document; the JSON answer."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    response = await world.post(body, headers={"Content-Type": "application/json", **headers})
    assert response.status == status, await response.text()
    assert response.headers["Content-Type"] == "application/json"
    answer: dict[str, Any] = await response.json()
    return answer


async def test_json_batch_is_accepted(world: World) -> None:
    """The answer is JSON with the same fields."""
    answer = await post(world, {"sent_at": now_ms(), "events": [view(), view()]})
    assert answer == {"success": True, "events_accepted": 2, "events_rejected": 0}
    [raw] = world.sink.raw()
    assert (raw.event_count, raw.events[0].page.path) == (2, "/cart")


async def test_json_beacon_with_its_key_inside(world: World) -> None:
    """What sendBeacon can send is enough: text/plain, key in the body."""
    body = json.dumps({"project_key": WRITE_KEY, "events": [view()]}).encode()
    headers = {"Content-Type": "text/plain;charset=UTF-8", "X-GoSight-Key": None}
    response = await world.post(body, headers=headers)
    assert response.status == 204
    assert WRITE_KEY.encode() not in world.sink.records[0].value


@pytest.mark.parametrize(
    "changes", [{"event_type": "teleport"}, {"payload": 5}, {"event_type": 99}]
)
@pytest.mark.parametrize("place", ["event", "url", "batch"])
async def test_bad_json_event_of_a_blocked_page_is_not_kept(
    world: World, changes: dict[str, Any], place: str
) -> None:
    """What the project keeps out is kept out of dead letters, too, whatever else is wrong."""
    world.source.add(make_key(settings={"privacy": {"blockUrls": ["/clinic/*"]}}))
    event = view(**changes)
    event["page"] = None
    page = {"path": "/clinic/ward"}
    batch: dict[str, Any] = {"events": [event]}
    if place == "url":
        event["url"] = "https://shop.example/clinic/ward"
    else:
        (event if place == "event" else batch)["page"] = page
    answer = await post(world, batch)
    assert answer["rejections"][0]["reason"] == "blocked_url"
    [letter] = world.sink.rejected()
    assert (letter.payload, letter.session_id, letter.payload_withheld) == (b"", "", True)


async def test_bad_session_start_of_a_blocked_page_is_kept(world: World) -> None:
    """Session bookkeeping is kept of any page, and so is a fault in it."""
    world.source.add(make_key(settings={"privacy": {"blockUrls": ["*"]}}))
    answer = await post(world, {"events": [view(event_type="session_start", payload=5)]})
    assert answer["rejections"][0]["reason"] == "bad_payload"
    [letter] = world.sink.rejected()
    assert b"session_start" in letter.payload


async def test_bad_json_event_does_not_sink_its_neighbours(world: World) -> None:
    """An event that cannot be read is refused with its place; its JSON is kept for a repair."""
    answer = await post(world, {"events": [view(), view(timestamp="soon"), view(event_type="no")]})
    assert (answer["events_accepted"], answer["events_rejected"]) == (1, 2)
    assert [(one["index"], one["reason"]) for one in answer["rejections"]] == [
        (1, "bad_timestamp"),
        (2, "unknown_event_type"),
    ]
    letter = world.sink.rejected()[0]
    assert letter.payload_kind == "json"
    assert json.loads(letter.payload)["timestamp"] == "soon"
    assert letter.event_id == "3f2504e0-4f89-41d3-9a0c-0305e82c3301"


async def test_card_number_in_bad_json_is_not_kept(world: World) -> None:
    """The dead letter of unreadable JSON is scrubbed, too."""
    await post(world, {"events": [view(timestamp="soon", custom={"a": "4111 1111 1111 1111"})]})
    [letter] = world.sink.rejected()
    assert b"4111" not in letter.payload
    assert b"[redacted:card]" in letter.payload


async def test_typed_value_in_json_is_not_kept(world: World) -> None:
    """A value that a person typed is refused, and its JSON is withheld."""
    event = view(event_type="input_change", payload={"value": "hunter2", "value_length": 7})
    answer = await post(world, {"events": [event]})
    assert answer["error"] == "raw_value"
    [letter] = world.sink.rejected()
    assert letter.payload_withheld
    assert b"hunter2" not in world.sink.records[0].value


async def test_bad_json_bodies(world: World) -> None:
    """No JSON, no events, too deep: 400. Too many events: 413."""
    for body in (b"{", b"[]", b'{"events":[]}', b'{"events":' + b"[" * 40 + b"]" * 40 + b"}"):
        assert (await post(world, body, 400))["error"] == "INVALID_BODY"
    many = json.dumps({"events": [{}] * 501}).encode()
    assert (await post(world, many, 413))["error"] == "TOO_LARGE"


async def test_errors_of_json_requests_are_json(world: World) -> None:
    """The answer has the request's form also when nothing of the request was read."""
    answer = await post(world, {"events": [view()]}, 401, **{"X-GoSight-Key": "bad"})
    assert answer["error"] == "INVALID_KEY"


async def test_same_event_in_both_forms_is_the_same_record(world: World) -> None:
    """JSON and protobuf differ on the wire only."""
    sent_at = now_ms()
    await post(world, {"sent_at": sent_at, "events": [view()]})
    [from_json] = world.sink.raw()
    world.sink.records.clear()
    await world.send(EventBatch(sent_at=sent_at, events=from_json.events))
    [from_protobuf] = world.sink.raw()
    for raw in (from_json, from_protobuf):
        raw.ClearField("received_at_ms")
        raw.ClearField("batch_id")
    assert from_json == from_protobuf
