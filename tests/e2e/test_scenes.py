"""Every recorded scene through every transport: what goes in comes out of ClickHouse."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest

from schemas.event_types import NAME_BY_NUMBER, NUMBER_BY_NAME
from schemas.json_batch import batch_from_json
from schemas.v1.events_pb2 import Event
from schemas.v1.ingest_pb2 import EventBatch, IngestResponse
from tests.e2e.conftest import OwnProject, RunningMachine
from tests.scene_files import read_scene, scene_names, whole_events

COLUMNS = (
    "toString(event_id) AS id",
    "toString(session_id) AS session",
    "toUnixTimestamp64Milli(timestamp) AS at",
    "event_type",
    "anonymous_id",
    "page_view_id",
    "url",
    "path",
    "title",
    "referrer",
    "screen_width",
    "viewport_height",
    "language",
    "timezone",
    "click_x",
    "target_selector",
    "scroll_depth",
    "error_message",
    "lcp",
    "time_on_page_ms",
    "payload",
    "country_code",
)
TRANSPORTS = ("protobuf", "json", "grpc", "grpc-web")


class Sender:
    """Posts the requests of a scene by one transport."""

    def __init__(self, machine: RunningMachine, project: OwnProject, transport: str) -> None:
        self._gateway = machine.addresses.gateway
        self._grpc = machine.addresses.grpc
        self._key = project.write_key
        self._transport = transport

    async def send(self, session: aiohttp.ClientSession, request: Mapping[str, Any]) -> int:
        """Send one request now; return how many events were accepted."""
        batch = {**request["batch"], "sent_at": int(time.time() * 1000), "project_key": self._key}
        headers = {
            "X-GoSight-Key": self._key,
            "X-Forwarded-For": request["client_ip"],
            "User-Agent": request["user_agent"],
        }
        if self._transport == "json":
            headers["Content-Type"] = "application/json"
            return await self._post(session, "/v1/events", json.dumps(batch).encode(), headers)
        message = self._message(batch)
        if self._transport == "protobuf":
            headers["Content-Type"] = "application/x-protobuf"
            return await self._post(session, "/v1/events", message.SerializeToString(), headers)
        if self._transport == "grpc-web":
            headers["Content-Type"] = "application/grpc-web+proto"
            payload = message.SerializeToString()
            body = b"\0" + len(payload).to_bytes(4, "big") + payload
            return await self._post(session, "/gosight.IngestService/SendBatch", body, headers)
        return await self._call(message, request)

    def _message(self, batch: Mapping[str, Any]) -> EventBatch:
        parsed = batch_from_json(json.dumps(batch).encode())
        events = [event for event in parsed.events if isinstance(event, Event)]
        assert len(events) == len(batch["events"])
        return EventBatch(sent_at=parsed.sent_at, sdk_version=parsed.sdk_version, events=events)

    async def _post(
        self, session: aiohttp.ClientSession, path: str, body: bytes, headers: dict[str, str]
    ) -> int:
        async with session.post(self._gateway + path, data=body, headers=headers) as answer:
            content = await answer.read()
            assert answer.status == (200 if "grpc" in self._transport else 202), content
        if self._transport == "json":
            return int(json.loads(content)["events_accepted"])
        if self._transport == "grpc-web":
            length = int.from_bytes(content[1:5], "big")
            content = content[5 : 5 + length]
        return IngestResponse.FromString(content).events_accepted

    async def _call(self, message: EventBatch, request: Mapping[str, Any]) -> int:
        async with grpc.aio.insecure_channel(self._grpc) as channel:
            call = channel.unary_unary(
                "/gosight.IngestService/SendBatch",
                request_serializer=EventBatch.SerializeToString,
                response_deserializer=IngestResponse.FromString,
            )
            metadata = (
                ("x-gosight-key", self._key),
                ("x-forwarded-for", request["client_ip"]),
            )
            response: IngestResponse = await call(message, metadata=metadata, timeout=10)
        return response.events_accepted


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_scenes_come_out_as_they_went_in(machine: RunningMachine, transport: str) -> None:
    """The same event ids, times and fields, whichever way they came."""
    project = machine.project(f"scenes {transport}")
    sent = asyncio.run(_send_all(machine, project, transport))
    rows = _stored(machine, project, len(sent))
    assert set(rows) == set(sent)
    for event_id, event in sent.items():
        _compare(event, rows[event_id], transport)


async def _send_all(
    machine: RunningMachine, project: OwnProject, transport: str
) -> dict[str, dict[str, Any]]:
    """Post all scenes; return the events by id (a few are recorded twice, as they were sent)."""
    sender = Sender(machine, project, transport)
    events: dict[str, dict[str, Any]] = {}
    async with aiohttp.ClientSession() as session:
        for name in scene_names():
            for request in read_scene(name, ends_at_ms=int(time.time() * 1000)):
                accepted = await sender.send(session, request)
                assert accepted == len(request["batch"]["events"]), (name, accepted)
                for event in whole_events(request):
                    event["client_ip"] = request["client_ip"]
                    events.setdefault(event["event_id"], event)
    return events


def _stored(machine: RunningMachine, project: OwnProject, count: int) -> dict[str, dict[str, Any]]:
    deadline = time.monotonic() + 60
    query = f"SELECT {', '.join(COLUMNS)} FROM events WHERE project_id = {{project:String}}"
    while True:
        result = machine.client.query(query, parameters={"project": project.project_id})
        if len(result.result_rows) >= count:
            rows = list(result.named_results())
            assert len(rows) == count
            return {row["id"]: row for row in rows}
        assert time.monotonic() < deadline, f"{len(result.result_rows)} of {count} stored in 60 s"
        time.sleep(0.3)


def _compare(event: dict[str, Any], row: Mapping[str, Any], transport: str) -> None:
    page, device, payload = event["page"], event["device"], event.get("payload") or {}
    kind = NAME_BY_NUMBER[NUMBER_BY_NAME[event["event_type"]]]
    expected = {
        "session": event["session_id"],
        "at": event["timestamp"],
        "event_type": kind,
        "anonymous_id": event["anonymous_id"],
        "page_view_id": event.get("page_view_id", ""),
        "url": _stored_url(page["url"]),
        "path": page["path"],
        "title": page["title"],
        "referrer": _stored_url(page["referrer"]),
        "screen_width": device["screen_width"],
        "viewport_height": device["viewport_height"],
        "language": device["language"],
        "timezone": device["timezone"],
        "click_x": payload["position"]["x"] if "position" in payload else None,
        "error_message": payload.get("message", "") if "error" in kind or "reject" in kind else "",
    }
    if kind in {"click", "dblclick", "context_menu"}:
        expected["target_selector"] = payload["target"]["selector"]
    if kind == "scroll":
        expected["scroll_depth"] = payload["scroll_depth_percent"]
    if kind == "page_exit":
        expected["time_on_page_ms"] = payload["time_on_page_ms"]
    if kind == "web_vitals":
        expected["lcp"] = payload.get("largest_contentful_paint")
    if kind == "form_error":
        expected["error_message"] = ""
    assert {key: row[key] for key in expected} == expected
    stored = json.loads(row["payload"])
    for key, value in payload.items():
        assert _equal(value, stored.get(key)), (kind, key, value, stored)


def _stored_url(url: str) -> str:
    """A fragment is kept only where it is a route. Source: privacy.md, section 4."""
    base, _hash, fragment = url.partition("#")
    return url if fragment.startswith("/") else base


def _equal(sent: Any, stored: Any) -> bool:
    """Equal, but for 32-bit floats, maps whose values are kept as text, and mail addresses."""
    if isinstance(sent, str) and sent.startswith("mailto:"):
        return stored == "mailto:[redacted:email]"
    if isinstance(sent, dict) and isinstance(stored, dict):
        return all(_equal(value, stored.get(key)) for key, value in sent.items())
    if isinstance(sent, list) and isinstance(stored, list):
        return len(sent) == len(stored) and all(map(_equal, sent, stored))
    if isinstance(sent, float) and isinstance(stored, (int, float)):
        return math.isclose(sent, stored, rel_tol=1e-6)
    if isinstance(stored, str) and not isinstance(sent, str):
        return json.loads(stored) == sent if stored else False
    return bool(sent == stored)


def test_beacon_and_text_form_of_grpc_web(machine: RunningMachine) -> None:
    """A beacon is answered 204; base64 frames are read as well."""
    project = machine.project("beacons")

    async def run() -> None:
        (request, *_rest) = read_scene(scene_names()[0], ends_at_ms=int(time.time() * 1000))
        batch = {**request["batch"], "sent_at": int(time.time() * 1000)}
        batch["project_key"] = project.write_key
        async with aiohttp.ClientSession() as session:
            async with session.post(
                machine.addresses.gateway + "/v1/events",
                data=json.dumps(batch).encode(),
                headers={"Content-Type": "text/plain"},
            ) as answer:
                assert answer.status == 204
            parsed = batch_from_json(json.dumps(batch).encode())
            message = EventBatch(events=[e for e in parsed.events if isinstance(e, Event)])
            payload = message.SerializeToString()
            frame = b"\0" + len(payload).to_bytes(4, "big") + payload
            async with session.post(
                machine.addresses.gateway + "/gosight.IngestService/SendBatch",
                data=base64.b64encode(frame),
                headers={
                    "Content-Type": "application/grpc-web-text",
                    "X-GoSight-Key": project.write_key,
                },
            ) as answer:
                assert answer.status == 200
                assert b"grpc-status:0" in base64.b64decode(await answer.read())

    asyncio.run(run())
