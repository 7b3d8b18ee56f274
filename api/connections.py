"""Connections that nobody does anything with, closed after a while.

A client may open a connection and send its request byte by byte, or not read its answer, for ever:
each such connection costs memory and a descriptor. A connection is in use while a handler works for
it; one that was not in use for `SILENT_S` is closed, whatever trickles in or out of it. Kept-alive
connections end the same way. Bodies have a shorter limit of their own, see `api.bodies`, and so has
what is sent as a stream, see `api.reads.exports`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler

# Longer than proxies keep theirs, so that they are the ones who close.
SILENT_S = 75.0
SWEEP_S = 5.0


class Connections:
    """Since when each connection is not in use; `now_s` is a clock that only goes on."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self.now_s = now_s
        self._in_use: Counter[asyncio.BaseProtocol] = Counter()
        self._idle_since_s: dict[asyncio.BaseProtocol, float] = {}

    def begin(self, connection: asyncio.BaseProtocol) -> None:
        """A handler works for it."""
        self._in_use[connection] += 1

    def end(self, connection: asyncio.BaseProtocol) -> None:
        """That handler is done; its answer may still be on its way."""
        self._in_use[connection] -= 1
        if not self._in_use[connection]:
            del self._in_use[connection]
            self._idle_since_s[connection] = self.now_s()

    def close_silent(self, server: web.Server, silent_s: float) -> int:
        """Close those that are silent for so long; returns how many."""
        now_s, closed = self.now_s(), 0
        known, self._idle_since_s = self._idle_since_s, {}
        for connection in server.connections:
            since_s = self._idle_since_s[connection] = known.get(connection, now_s)
            if connection not in self._in_use and now_s - since_s >= silent_s:
                if connection.transport is not None:
                    # Not politely: what waits to be written is what the client does not read.
                    connection.transport.abort()
                closed += 1
        return closed


CONNECTIONS: web.AppKey[Connections] = web.AppKey("connections", Connections)


@web.middleware
async def note_use(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a connection count as used while its request is worked on."""
    connections, connection = request.app[CONNECTIONS], request.protocol
    connections.begin(connection)
    try:
        return await handler(request)
    finally:
        connections.end(connection)


async def watch_connections(
    app: web.Application,
    server: web.Server,
    *,
    silent_s: float = SILENT_S,
    sweep_s: float = SWEEP_S,
) -> None:
    """Close silent connections from time to time, until cancelled."""
    while True:
        await asyncio.sleep(sweep_s)
        app[CONNECTIONS].close_silent(server, silent_s)
