"""The live WebSockets of one process: one tail of Kafka, one hub, all connections.

Made before the application serves and closed after it; what stops the process says 1001 to all.
Source: api.md, section 8.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from api.realtime.conversation import Conversation
from api.realtime.figures import Figures
from api.realtime.hub import HISTORY_MS, Hub
from api.realtime.limits import RealtimeLimits
from api.realtime.messages import CloseCode
from api.realtime.metrics import CONNECTIONS
from api.realtime.records import PROJECT_CHARS
from api.realtime.seats import Seats
from api.services import Services
from connectors.kafka_tail import KafkaTail
from schemas.topics import ALERTS, EVENTS_RAW, INSIGHTS, SESSIONS


class Realtime:
    """All connections of this process. `now_s` is a monotonic clock."""

    def __init__(
        self, hub: Hub, limits: RealtimeLimits, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits = limits
        self.hub = hub
        self._now_s = now_s
        self._seats = Seats(limits)
        self._conversations: set[Conversation] = set()
        self._is_leaving = False

    @property
    def has_room(self) -> bool:
        """Whether one more may connect."""
        if self._is_leaving or len(self._conversations) >= self.limits.connections_max:
            return False
        unknown = sum(not one.is_known for one in self._conversations)
        return unknown < self.limits.unknown_max

    async def serve(
        self, request: web.Request, socket: web.WebSocketResponse, project_id: str
    ) -> None:
        """Talk with a client until it is over; the socket is open."""
        talk = Conversation(
            request, socket, project_id, self.hub, self._seats, self.limits, self._now_s
        )
        self._conversations.add(talk)
        CONNECTIONS.inc()
        try:
            if self._is_leaving:
                talk.end(CloseCode.GOING_AWAY, "this process ends; connect again")
            await talk.run()
        finally:
            CONNECTIONS.dec()
            self._conversations.discard(talk)

    async def watch(self) -> None:
        """Look at all connections again and again, until cancelled."""
        while True:
            await asyncio.sleep(self.limits.look_s)
            for talk in list(self._conversations):
                talk.look()

    async def say_goodbye(self, _app: web.Application) -> None:
        """This process ends: tell all."""
        self._is_leaving = True
        endings = [
            talk.end(CloseCode.GOING_AWAY, "this process ends; connect again")
            for talk in self._conversations
        ]
        await asyncio.gather(*endings, return_exceptions=True)


REALTIME: web.AppKey[Realtime] = web.AppKey("realtime", Realtime)


@asynccontextmanager
async def open_realtime(
    services: Services, brokers: str, limits: RealtimeLimits | None = None
) -> AsyncIterator[Realtime]:
    """The live WebSockets on these brokers, which need not be there yet."""
    limits = limits or RealtimeLimits()
    topics = [topic.name for topic in (SESSIONS, INSIGHTS, ALERTS)]
    tail = KafkaTail(
        brokers,
        topics,
        EVENTS_RAW.name,
        history_ms=HISTORY_MS,
        key_chars=PROJECT_CHARS,
        clock_ms=services.now_ms,
    )
    hub = Hub(services.now_ms, tail.want)
    realtime = Realtime(hub, limits)
    figures = Figures(services, hub, limits, time.monotonic)
    tasks = [asyncio.create_task(realtime.watch()), asyncio.create_task(figures.run())]
    tail.start(hub)
    try:
        yield realtime
    finally:
        for task in tasks:
            task.cancel()
        hub.is_closed = True
        await asyncio.to_thread(tail.close)
        await asyncio.gather(*tasks, return_exceptions=True)
