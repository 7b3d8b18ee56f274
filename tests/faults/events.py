"""Events of made-up visitors, and the two forms in which clients send them.

In: a seeded source of chance. Out: `MadeEvent`s with all that the auditor needs to recognise their
rows, as JSON and as protobuf. Nothing here is shared with the platform: names and numbers of fields
are written out a second time on purpose.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.wire import blob, real, whole

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
AGENTS = {
    "desktop": (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/126.0.0.0 Safari/537.36"
    ),
    "mobile": f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) {_APPLE}",
    "tablet": f"Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) {_APPLE}",
}
TYPE_NUMBERS = {
    "page_view": 10,
    "page_exit": 11,
    "click": 20,
    "mouse_move": 23,
    "scroll": 30,
    "js_error": 60,
    "page_load": 70,
    "web_vitals": 71,
    "custom_event": 110,
    "dom_mutation": 121,
    "goal": 150,
}
# How often each comes among events that mean nothing together.
KIND_WEIGHTS = {
    "page_view": 6,
    "page_exit": 2,
    "click": 6,
    "scroll": 3,
    "js_error": 1,
    "page_load": 1,
    "web_vitals": 2,
    "custom_event": 2,
}
# Every reason a client can cause without a project's settings, and how it shows in an event.
BAD_REASONS = ("missing_field", "unknown_event_type", "too_old", "bad_payload", "bad_timestamp")


@dataclass(slots=True)
class MadeEvent:
    """One event. `at_ms` is when it truly happened; `bad_reason` is why it must be refused."""

    event_id: str
    session_id: str
    visitor: str
    kind: str
    at_ms: int
    path: str
    payload: dict[str, Any]
    device: str = "desktop"
    viewport_width: int = 1366
    bad_reason: str = ""


@dataclass(slots=True)
class Visitor:
    """Who makes events: one session on one device."""

    session_id: str
    name: str
    device: str
    viewport_width: int


@dataclass(slots=True)
class EventMaker:
    """Makes events of `sessions` visitors. `hot_share` of them belong to the first visitor."""

    chance: random.Random
    sessions: int = 40
    hot_share: float = 0.0
    bad_share: float = 0.02
    late_share: float = 0.1
    visitors: list[Visitor] = field(default_factory=list)

    def __post_init__(self) -> None:
        for number in range(self.sessions):
            device, width = self.chance.choice(
                [("desktop", 1366), ("mobile", 390), ("tablet", 820), ("desktop", 0)]
            )
            session = make_uuid(self.chance)
            self.visitors.append(Visitor(session, f"visitor-{number}", device, width))

    def make(self, count: int, now_ms: int) -> list[MadeEvent]:
        """`count` events that happened until now, some of them up to an hour ago."""
        return [self._make_one(now_ms) for _ in range(count)]

    def _make_one(self, now_ms: int) -> MadeEvent:
        chance = self.chance
        is_hot = chance.random() < self.hot_share
        visitor = self.visitors[0] if is_hot else chance.choice(self.visitors)
        kind = chance.choices(list(KIND_WEIGHTS), list(KIND_WEIGHTS.values()))[0]
        path = f"/p/{chance.randrange(8)}"
        is_late = chance.random() < self.late_share
        age_ms = chance.randrange(HOUR_MS if is_late else 5_000)
        event = MadeEvent(
            event_id=make_uuid(chance),
            session_id=visitor.session_id,
            visitor=visitor.name,
            kind=kind,
            at_ms=now_ms - age_ms,
            path=path,
            payload=_payload(kind, path, chance),
            device=visitor.device,
            viewport_width=visitor.viewport_width,
        )
        if chance.random() < self.bad_share:
            _spoil(event, chance.choice(BAD_REASONS))
        return event


def make_uuid(chance: random.Random) -> str:
    """A random UUID from a seeded source."""
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def _payload(kind: str, path: str, chance: random.Random) -> dict[str, Any]:
    if kind == "page_view":
        return {"page_title": f"Page {path}", "page_path": path}
    if kind == "page_exit":
        time_ms = chance.choice([0, chance.randrange(1, 120_000)])
        return {"time_on_page_ms": time_ms, "max_scroll_depth": chance.randrange(101)}
    if kind == "click":
        number = chance.randrange(6)
        return {
            "position": {"x": chance.randrange(1200), "y": chance.randrange(3000)},
            "target": {"tag": "button", "text": f"Button {number}", "selector": f"#b{number}"},
        }
    if kind == "scroll":
        return {"scroll_depth_percent": chance.randrange(101), "page_height": 3000}
    if kind == "js_error":
        return {"message": f"x{chance.randrange(3)} is not a function", "error_type": "TypeError"}
    if kind == "page_load":
        return {"ttfb": chance.randrange(500), "load_complete": chance.randrange(9_000)}
    if kind == "web_vitals":
        return {
            "largest_contentful_paint": chance.randrange(70_000),
            "interaction_to_next_paint": chance.randrange(900),
            "cumulative_layout_shift": chance.randrange(64) / 64,
        }
    return {"name": "coupon_tried", "properties": {"attempt": str(chance.randrange(9))}}


def _spoil(event: MadeEvent, reason: str) -> None:
    event.bad_reason = reason
    if reason == "missing_field":
        event.session_id = ""
    elif reason == "unknown_event_type":
        event.kind = "no_such_type"
    elif reason == "too_old":
        event.at_ms -= 9 * DAY_MS
    elif reason == "bad_timestamp":
        event.at_ms = -5
    else:
        event.kind, event.payload = "custom_event", {"name": "not a name"}


def sent_time_ms(event: MadeEvent, skew_ms: int) -> int:
    """The event's time by the client's clock; a spoilt one stays as it is."""
    return event.at_ms if event.bad_reason == "bad_timestamp" else event.at_ms + skew_ms


def batch_json(events: Sequence[MadeEvent], sent_at_ms: int, skew_ms: int) -> bytes:
    """A batch as JSON; `sent_at_ms` of 0 is left out."""
    document: dict[str, Any] = {
        "sdk_version": "faults",
        "events": [
            {
                "event_id": event.event_id,
                "session_id": event.session_id,
                "anonymous_id": event.visitor,
                "event_type": event.kind,
                "timestamp": sent_time_ms(event, skew_ms),
                "page": {
                    "url": f"https://shop.example{event.path}",
                    "path": event.path,
                    "title": f"Page {event.path}",
                },
                "device": {
                    "user_agent": AGENTS[event.device],
                    "device_type": event.device,
                    "viewport_width": event.viewport_width,
                },
                "payload": event.payload,
            }
            for event in events
        ],
    }
    if sent_at_ms:
        document["sent_at"] = sent_at_ms
    return json.dumps(document).encode()


def batch_protobuf(events: Sequence[MadeEvent], sent_at_ms: int, skew_ms: int) -> bytes:
    """A batch as `gosight.EventBatch`."""
    parts = [blob(2, _event_protobuf(event, skew_ms)) for event in events]
    if sent_at_ms:
        parts.append(whole(3, sent_at_ms))
    return b"".join([*parts, blob(4, "faults")])


def _event_protobuf(event: MadeEvent, skew_ms: int) -> bytes:
    page = (
        blob(1, f"https://shop.example{event.path}")
        + blob(2, event.path)
        + blob(3, f"Page {event.path}")
    )
    devices = {"desktop": 1, "tablet": 2, "mobile": 3}
    device = blob(1, AGENTS[event.device]) + whole(6, devices[event.device])
    if event.viewport_width:
        device += whole(9, event.viewport_width)
    number = TYPE_NUMBERS.get(event.kind, 777)
    parts = [
        blob(1, event.event_id),
        blob(2, event.session_id) if event.session_id else b"",
        whole(5, number),
        blob(6, whole(1, sent_time_ms(event, skew_ms))),
        blob(7, page),
        blob(8, device),
        blob(10, event.visitor),
    ]
    if event.kind in TYPE_NUMBERS:
        parts.append(_payload_protobuf(event))
    return b"".join(parts)


def _payload_protobuf(event: MadeEvent) -> bytes:
    data = event.payload
    kind = event.kind
    if kind == "page_view":
        return blob(102, blob(1, data["page_title"]) + blob(2, data["page_path"]))
    if kind == "page_exit":
        return blob(103, whole(1, data["time_on_page_ms"]) + whole(2, data["max_scroll_depth"]))
    if kind == "click":
        position, target = data["position"], data["target"]
        place = whole(1, position["x"]) + whole(2, position["y"])
        element = blob(1, target["tag"]) + blob(4, target["text"]) + blob(6, target["selector"])
        return blob(104, blob(1, place) + blob(2, element))
    if kind == "mouse_move":
        return blob(105, b"".join(blob(1, _position(move)) for move in data["positions"]))
    if kind == "dom_mutation":
        kinds = b"".join(blob(4, name) for name in data["kinds"])
        return blob(131, whole(1, 1) + blob(3, data["click_event_id"]) + kinds)
    if kind == "goal":
        return blob(132, blob(1, data["name"]))
    if kind == "scroll":
        return blob(106, whole(3, data["scroll_depth_percent"]) + whole(4, data["page_height"]))
    if kind == "js_error":
        return blob(110, blob(1, data["message"]) + blob(6, data["error_type"]))
    if kind == "page_load":
        return blob(111, whole(1, data["ttfb"]) + whole(3, data["load_complete"]))
    if kind == "web_vitals":
        return blob(
            111,
            whole(6, data["largest_contentful_paint"])
            + real(7, data["cumulative_layout_shift"])
            + whole(9, data["interaction_to_next_paint"]),
        )
    properties = [
        blob(2, blob(1, name) + blob(2, value))
        for name, value in data.get("properties", {}).items()
    ]
    return blob(113, blob(1, data["name"]) + b"".join(properties))


def _position(move: dict[str, int]) -> bytes:
    return whole(1, move["x"]) + whole(2, move["y"]) + whole(3, move["timestamp"])


def raw_record(project_id: str, events: Sequence[MadeEvent], received_at_ms: int) -> bytes:
    """A record of gosight.events.raw as the gateway writes it, for records put there directly."""
    facts = raw_facts(project_id, events[0].session_id, len(events), received_at_ms)
    return batch_protobuf(events, 0, 0) + facts


def raw_facts(project_id: str, session_id: str, count: int, received_at_ms: int) -> bytes:
    """What the gateway adds to the events of a record."""
    return b"".join(
        [
            blob(32, project_id),
            blob(33, session_id),
            whole(34, received_at_ms),
            blob(36, AGENTS["desktop"]),
            whole(37, count),
            whole(38, 90),
            whole(39, 1),
            blob(40, "faults-1"),
        ]
    )
