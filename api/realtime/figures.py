"""Figures that are sent every few seconds: who is there, and how many events come.

In: projects that somebody watches. Out: one message a project and channel. What cannot be told now
is null. `active_sessions` is what `GET .../visitors/active` answers as `visitors_now`;
`events_per_minute` is what `GET .../ledger` says was stored of the last whole minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from api.project_queries import ProjectQueries
from api.realtime.hub import Hub
from api.realtime.limits import RealtimeLimits
from api.realtime.messages import Channel, message
from api.services import Services
from connectors.errors import ConnectorError

MINUTE_MS = 60_000
# Events are booked when they are stored: a minute that ended just now is not whole.
STORED_WITHIN_MS = 5_000
PROJECTS_AT_ONCE = 8


class Figures:
    """Sends the figures of all watched projects again and again."""

    def __init__(
        self, services: Services, hub: Hub, limits: RealtimeLimits, now_s: Callable[[], float]
    ) -> None:
        self._services = services
        self._hub = hub
        self._limits = limits
        self._now_s = now_s
        self._rates: dict[bytes, tuple[float, int | None]] = {}  # When it was asked, and what came.
        self._sent_visitors: dict[bytes, int | None] = {}
        self._at_once = asyncio.Semaphore(PROJECTS_AT_ONCE)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            began_s = self._now_s()
            await self.send()
            spent_s = self._now_s() - began_s
            await asyncio.sleep(max(0.0, self._limits.metrics_s - spent_s))

    async def send(self) -> None:
        """Once."""
        watched = self._hub.projects(Channel.METRICS, Channel.VISITORS)
        for known in (self._rates, self._sent_visitors):
            for owner in known.keys() - watched:
                del known[owner]
        await asyncio.gather(*(self._send_one(owner) for owner in watched))

    async def _send_one(self, owner: bytes) -> None:
        hub = self._hub
        async with self._at_once:
            position = hub.position()
            sessions = await self._active_sessions(owner.decode())
            if owner in hub.projects(Channel.METRICS):
                rate = await self._rate(owner)
                data = {"active_sessions": sessions, "events_per_minute": rate}
                hub.publish(owner, Channel.METRICS, message("metrics", data, position=position))
        changes = hub.changes.get(owner)
        if changes is not None:
            is_same = not any(changes.values())
            if is_same and self._sent_visitors.get(owner, -1) == sessions:
                return
            hub.changes[owner] = dict.fromkeys(changes, 0)
            self._sent_visitors[owner] = sessions
            told = {"visitors_now": sessions, "changes": changes}
            hub.publish(owner, Channel.VISITORS, message("visitors", told))

    async def _active_sessions(self, project_id: str) -> int | None:
        stores = self._services.reads
        if stores is None:
            return None
        try:
            return await stores.live.active_sessions(project_id, self._services.now_ms())
        except ConnectorError:
            return None

    async def _rate(self, owner: bytes) -> int | None:
        known = self._rates.get(owner)
        now_s = self._now_s()
        if known is not None and now_s - known[0] < self._limits.rate_s:
            return known[1]
        now_ms = self._services.now_ms()
        end_ms = (now_ms - STORED_WITHIN_MS) // MINUTE_MS * MINUTE_MS
        queries = ProjectQueries(self._services.queries, owner.decode())
        rate: int | None = None
        try:
            rows = await queries.rows(
                "ledger_by_minute", {"start_ms": end_ms - MINUTE_MS, "end_ms": end_ms}
            )
            rate = sum(int(row["stored"]) for row in rows)
        except ConnectorError:
            pass  # It is asked again when the next is due.
        self._rates[owner] = now_s, rate
        return rate
