"""Clients of the live WebSocket, and records for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from aiohttp import ClientWebSocketResponse, WSMsgType

from api.realtime.limits import RealtimeLimits
from connectors.kafka_log import OutRecord
from connectors.kafka_producer import KafkaRecordProducer
from schemas.topics import ALERTS, INSIGHTS, SESSIONS
from schemas.v1.pipeline_pb2 import Insight, SessionRevision
from tests.alert_transitions import make_transition
from tests.factories import make_event, make_raw, raw_record
from tests.integration.api.account_world import Person, World, account_world
from tests.stack import RunningStack

WAIT_S = 20.0
QUICK = RealtimeLimits(look_s=0.02, metrics_s=0.3)


def real_now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def live_world(
    databases: RunningStack, limits: RealtimeLimits = QUICK, **more: Any
) -> AsyncIterator[World]:
    """The account side with live WebSockets; its clock begins now."""
    async with account_world(databases, now_ms=real_now_ms(), live=limits, **more) as world:
        yield world


class LiveClient:
    """One WebSocket; what it got is in `got`."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket
        self.got: list[dict[str, Any]] = []

    async def send(self, **message: Any) -> None:
        """Say something."""
        await self.socket.send_json(message)

    async def next(self, *kinds: str) -> dict[str, Any]:
        """The next message of one of these types."""
        async with asyncio.timeout(WAIT_S):
            while True:
                message: dict[str, Any] = await self.socket.receive_json()
                self.got.append(message)
                if message["type"] in kinds:
                    return message

    async def log_in(self, token: str) -> dict[str, Any]:
        """Say who it is; the answer."""
        await self.send(type="auth", token=token)
        return await self.next("auth.ok")

    async def subscribe(self, *channels: str, **more: Any) -> dict[str, Any]:
        """Ask for channels; the answer."""
        await self.send(type="subscribe", channels=channels, **more)
        return await self.next("subscribed")

    async def code(self) -> int:
        """The code with which the server closes."""
        async with asyncio.timeout(WAIT_S):
            while True:
                received = await self.socket.receive()
                if received.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING):
                    assert self.socket.close_code is not None
                    return self.socket.close_code
                if received.type is WSMsgType.TEXT:
                    self.got.append(received.json())

    def ids(self, *kinds: str) -> list[str]:
        """Ids of what it got, of these types."""
        return [message["id"] for message in self.got if message["type"] in kinds]


@asynccontextmanager
async def connected(
    world: World, project_id: str, who: Person | str | None = None, *channels: str, **more: Any
) -> AsyncIterator[LiveClient]:
    """A client, logged in if `who` is given (a person or a credential), with these channels."""
    path = more.pop("path", f"/api/v1/projects/{project_id}/realtime")
    async with world.client.ws_connect(path, **more) as socket:
        client = LiveClient(socket)
        if who is not None:
            await client.log_in(who.access_token if isinstance(who, Person) else who)
        if channels:
            await client.subscribe(*channels)
        yield client


async def produce(databases: RunningStack, records: Sequence[OutRecord]) -> None:
    """Write records; they are there when this returns."""
    producer = KafkaRecordProducer(databases.kafka_brokers)
    await asyncio.to_thread(producer.produce_all, list(records))


def session_record(project_id: str, session_id: str, **fields: Any) -> OutRecord:
    """A revision of a session, the first unless told otherwise."""
    values: dict[str, Any] = {
        "revision": 1,
        "user_id": "ann",
        "entry_url": "https://shop.example/",
        "device_type": "mobile",
        "country": "Sweden",
        **fields,
    }
    row = SessionRevision(project_id=project_id, session_id=session_id, **values)
    key = f"{project_id}:{session_id}".encode()
    return OutRecord(SESSIONS.name, key, row.SerializeToString())


def insight_record(project_id: str, insight_id: str, **fields: Any) -> OutRecord:
    """What a detector found."""
    insight = Insight(
        project_id=project_id,
        insight_id=insight_id,
        session_id=str(uuid4()),
        insight_type="rage_click",
        path="/cart",
        **fields,
    )
    return OutRecord(INSIGHTS.name, project_id.encode(), insight.SerializeToString())


def alert_record(project_id: str, kind: str = "fired", **fields: Any) -> OutRecord:
    """A change of a rule."""
    change = make_transition(kind, real_now_ms(), project_id=project_id, **fields)
    key = f"{project_id}:{change.rule_id}".encode()
    return OutRecord(ALERTS.name, key, change.SerializeToString())


def events_record(project_id: str, session_id: str, count: int = 1) -> OutRecord:
    """A batch as the gateway writes it."""
    events = [make_event(str(uuid4()), session_id, at_ms=real_now_ms()) for _ in range(count)]
    raw = make_raw(events, session_id, project_id=project_id, received_at_ms=real_now_ms())
    return raw_record(raw)
