"""From the gateway to a live client: a visit that begins is told while it happens."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

import aiohttp

from tests.e2e.conftest import RunningMachine

SEEN_S_MAX = 30  # Of a machine that has other things to do; `make bench` says how soon it is.


async def test_a_visit_is_told_while_it_happens(machine: RunningMachine) -> None:
    """An event sent to the gateway is an `event` and a `session.start` of its project."""
    project = machine.project("live")
    session_id, now_ms = str(uuid4()), int(time.time() * 1000)
    event = {
        "event_id": str(uuid4()),
        "session_id": session_id,
        "event_type": "page_view",
        "timestamp": now_ms,
        "page": {"url": "https://shop.example/cart", "path": "/cart", "title": "Cart"},
    }
    url = f"{machine.addresses.api}/api/v1/projects/{project.project_id}/realtime"
    async with (
        asyncio.timeout(SEEN_S_MAX),
        aiohttp.ClientSession() as session,
        session.ws_connect(url) as socket,
    ):
        await socket.send_json({"type": "auth", "token": project.read_key})
        await socket.send_json({"type": "subscribe", "channels": ["events", "sessions"]})
        await heard(socket, "subscribed")
        headers = {"X-GoSight-Key": project.write_key}
        began_s = time.monotonic()
        body = {"events": [event], "sent_at": now_ms, "sdk_version": "1"}
        address = f"{machine.addresses.gateway}/v1/events"
        async with session.post(address, json=body, headers=headers) as answer:
            assert answer.status == 202, await answer.text()
        told = await heard(socket, "event", "session.start")
        begun = told["session.start"]
        assert told["event"]["session_id"] == session_id
        assert told["event"]["event_type"] == "page_view"
        assert (begun["session_id"], begun["url"]) == (session_id, event["page"]["url"])
        print(f"seen after {time.monotonic() - began_s:.2f} s")


async def heard(socket: aiohttp.ClientWebSocketResponse, *kinds: str) -> dict[str, Any]:
    """The data of a message of each of these types, as soon as all have come."""
    found: dict[str, Any] = {}
    while not found.keys() >= set(kinds):
        message = await socket.receive_json()
        assert message["type"] not in {"error", "gap"}, message
        found[message["type"]] = message.get("data")
    return found
