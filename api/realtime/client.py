"""What goes out to one client: a bounded queue, a rate, and a count of what did not fit.

In: messages as bytes. Out: frames. A client that does not read stops its own writer and nobody
else's: what comes meanwhile is counted, and `stuck_s` tells for how long.
Source: api.md, section 8.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from aiohttp import ClientConnectionError, WSMsgType, web

from api.realtime.messages import STREAMS, Channel, message
from api.realtime.metrics import DROPPED, SENT

RATE_PER_S = 50  # Source: api.md, section 8.
QUEUE_MAX = 256
QUEUE_BYTES_MAX = 512 * 1024
_PING = b""  # In the queue: a frame of its own kind, no message of ours is empty.
_SENT = {channel: SENT.labels(channel) for channel in Channel}
_DROPPED = {channel: DROPPED.labels(channel) for channel in Channel}


class Client:
    """The outgoing side of one WebSocket; `clock` is monotonic seconds."""

    def __init__(self, socket: web.WebSocketResponse, clock: Callable[[], float]) -> None:
        self._socket = socket
        self._clock = clock
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._budget = float(RATE_PER_S)
        self._filled_at_s = clock()
        self._writing_since_s: float | None = None
        self._dropped = 0
        self._dropped_told_s = 0.0

    def push(self, channel: Channel, bodies: Sequence[bytes]) -> None:
        """Messages of a channel: as many as the rate and the queue allow."""
        fitting = self._room_for(bodies)
        if channel in STREAMS:
            fitting = self._take(fitting)
        if fitting < len(bodies):
            self._dropped += len(bodies) - fitting
            _DROPPED[channel].inc(len(bodies) - fitting)
        self._put(bodies[:fitting])
        _SENT[channel].inc(fitting)

    def replay(self, channel: Channel, bodies: Sequence[bytes]) -> None:
        """What was missed, which is bounded by itself; the rate is for what is live."""
        self._put(bodies)
        _SENT[channel].inc(len(bodies))

    def tell(self, body: bytes) -> None:
        """Something about the connection itself."""
        self._put((body,))

    def ping(self) -> None:
        """Ask the other side for a sign of life."""
        self._put((_PING,))

    def tell_dropped(self) -> None:
        """Say how many messages were kept back since this was last said, once a second."""
        now_s = self._clock()
        if self._dropped and now_s - self._dropped_told_s >= 1.0 and self.stuck_s == 0.0:
            self.tell(message("dropped", {"count": self._dropped}))
            self._dropped, self._dropped_told_s = 0, now_s

    @property
    def stuck_s(self) -> float:
        """For how long the other side has not taken what is being sent."""
        since_s = self._writing_since_s
        return 0.0 if since_s is None else self._clock() - since_s

    @property
    def is_overfull(self) -> bool:
        """More waits than any client that reads ever lets wait."""
        return self._queued_bytes > 4 * QUEUE_BYTES_MAX

    async def write(self) -> None:
        """Send what comes, until cancelled or the other side is gone."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._send_queued()
        except (ClientConnectionError, ConnectionError, RuntimeError):
            return  # Whoever reads from this socket notices.

    async def _send_queued(self) -> None:
        while self._queue:
            body = self._queue.popleft()
            self._queued_bytes -= len(body)
            self._writing_since_s = self._clock()
            kind = WSMsgType.TEXT if body is not _PING else WSMsgType.PING
            await self._socket.send_frame(body, kind)
            self._writing_since_s = None

    def _put(self, bodies: Iterable[bytes]) -> None:
        for body in bodies:
            self._queue.append(body)
            self._queued_bytes += len(body)
        if self._queue:
            self._wake.set()

    def _take(self, wanted: int) -> int:
        """How many messages the rate allows now, up to those wanted."""
        now_s = self._clock()
        gained = (now_s - self._filled_at_s) * RATE_PER_S
        self._filled_at_s = now_s
        self._budget = min(float(RATE_PER_S), self._budget + gained)
        taken = min(wanted, int(self._budget))
        self._budget -= taken
        return taken

    def _room_for(self, bodies: Sequence[bytes]) -> int:
        """How many of them the queue takes."""
        room = max(0, min(len(bodies), QUEUE_MAX - len(self._queue)))
        room_bytes = QUEUE_BYTES_MAX - self._queued_bytes
        for place, body in enumerate(bodies[:room]):
            room_bytes -= len(body)
            if room_bytes < 0:
                return place
        return room
