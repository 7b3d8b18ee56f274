"""From records to the clients that watch their project.

In: what the tail reads, handed over in batches. Out: messages to each client of the project and
channel. Guarantees: a message is made once for all its clients; a record of a project that nobody
watches is put into the history, unread, and that is all; rooms are found by the key of the record,
and the value has to name the same project. All of it runs on the event loop.

Order: of one session, rule or project of insights messages come as they were written; between
partitions there is none, so a client sorts by what the messages say if it needs to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from api.realtime.client import Client
from api.realtime.history import OVERLAP_MS, History
from api.realtime.messages import Channel, MessageId, error_message, message, position_of
from api.realtime.records import CHANNEL_OF, messages_of, project_of
from connectors.errors import RetryableError
from connectors.kafka_tail import TailRecord

REPLAY_MAX = 1_000
REPLAY_BYTES_MAX = 1024 * 1024  # Of records.
HISTORY_MS = 5 * 60_000
HISTORY_RECORDS_MAX = 50_000
HISTORY_BYTES_MAX = 24 * 1024 * 1024
CURRENT_WAIT_S = 5.0
NOTICED_LATE_MS = 5_000  # That Kafka is away is known so much later.
EVENTS_LINGER_S = 60.0  # Who comes back finds what was read meanwhile.
Room = tuple[bytes, Channel]  # Project and channel.


@dataclass
class _Stream:
    """One channel that comes from a topic."""

    history: History
    is_relied_on: bool = False  # Somebody was told that it is sent.
    current: asyncio.Event = field(default_factory=asyncio.Event)
    # Who is sent nothing before it is current, and then what was written since this.
    waiting: dict[Client, tuple[bytes, MessageId]] = field(default_factory=dict)
    late_since_ms: int = 0  # When the first of those began to wait.


class Hub:
    """Rooms of clients, and what was said lately; implements `TailListener` over `loop`.

    `want` tells the tail of which projects events are looked at.
    """

    def __init__(
        self,
        now_ms: Callable[[], int],
        want: Callable[[frozenset[bytes]], None],
        *,
        wait_s: float = CURRENT_WAIT_S,
        linger_s: float = EVENTS_LINGER_S,
    ) -> None:
        self._now_ms = now_ms
        self._want = want
        self._wait_s = wait_s
        self._linger_s = linger_s
        self._loop = asyncio.get_running_loop()
        self._rooms: dict[Room, set[Client]] = {}
        self._events_since_ms: dict[bytes, int] = {}  # Whose events are looked at, since when.
        self._lingering: dict[bytes, asyncio.TimerHandle] = {}
        self._streams = {
            channel: _Stream(History(HISTORY_MS, HISTORY_RECORDS_MAX, HISTORY_BYTES_MAX))
            for channel in CHANNEL_OF.values()
        }
        self._fault: str | None = "not connected yet"
        self._is_told = asyncio.Event()  # Whether anything is known of the brokers.
        self._read_until_ms = now_ms()
        self.is_closed = False
        # Sessions begun and ended, by project, for those who watch visitors.
        self.changes: dict[bytes, dict[str, int]] = {}

    @property
    def is_up(self) -> bool:
        """Whether the brokers answer."""
        return self._fault is None

    async def check(self) -> None:
        """Whether live messages come, for who watches this process.

        Raises:
            RetryableError: the brokers are away.
        """
        await self._is_told.wait()
        if self._fault is not None:
            raise RetryableError(self._fault)

    def position(self) -> MessageId:
        """What was written until then has been sent, but for what is not committed yet."""
        late_ms = [one.late_since_ms for one in self._streams.values() if one.waiting]
        return position_of(min([self._live_until_ms(), *late_ms]))

    def _live_until_ms(self) -> int:
        return self._now_ms() if self.is_up else self._read_until_ms

    def projects(self, *channels: Channel) -> set[bytes]:
        """Those with a client in one of these channels."""
        return {owner for owner, channel in self._rooms if channel in channels}

    def join(self, client: Client, owner: bytes, channel: Channel) -> None:
        """Send the channel to the client from now on."""
        self._rooms.setdefault((owner, channel), set()).add(client)
        self._note_rooms(owner, channel)

    def send_later(
        self, client: Client, owner: bytes, channel: Channel, since: MessageId | None
    ) -> None:
        """Once the channel is current send what was written since then, by default since now."""
        stream = self._streams[channel]
        now_ms = self._live_until_ms()
        if not stream.waiting:
            stream.late_since_ms = now_ms
        new = since or position_of(now_ms)
        _, known = stream.waiting.get(client, (owner, new))
        stream.waiting[client] = owner, min(known, new)

    def leave(self, client: Client, owner: bytes, channel: Channel) -> None:
        """Send it no more."""
        room = self._rooms.get((owner, channel))
        if room is not None:
            room.discard(client)
            if channel in self._streams:
                self._streams[channel].waiting.pop(client, None)
            if not room:
                del self._rooms[owner, channel]
                self._note_rooms(owner, channel)

    def _note_rooms(self, owner: bytes, channel: Channel) -> None:
        is_there = (owner, channel) in self._rooms
        if channel is Channel.EVENTS and is_there:
            self._look_at_events(owner)
        elif channel is Channel.EVENTS:
            self._lingering[owner] = self._loop.call_later(
                self._linger_s, self._ignore_events, owner
            )
        elif channel is Channel.VISITORS and is_there:
            self.changes.setdefault(owner, {"started": 0, "ended": 0})
        elif channel is Channel.VISITORS:
            self.changes.pop(owner, None)

    def _look_at_events(self, owner: bytes) -> None:
        timer = self._lingering.pop(owner, None)
        if timer is not None:
            timer.cancel()
        if owner not in self._events_since_ms:
            self._events_since_ms[owner] = self._now_ms() + 1_000  # The thread hears of it.
            self._want(frozenset(self._events_since_ms))

    def _ignore_events(self, owner: bytes) -> None:
        self._lingering.pop(owner, None)
        self._events_since_ms.pop(owner, None)
        self._want(frozenset(self._events_since_ms))
        if not self._events_since_ms:
            self._streams[Channel.EVENTS].is_relied_on = False

    async def wait_until_current(self, channels: Iterable[Channel]) -> bool:
        """Whether these channels are live; waits a little for those that are being begun."""
        streams = [self._streams[one] for one in channels if one in self._streams]
        waiting = [one for one in streams if not one.current.is_set()]
        if waiting and (self.is_up or not self._is_told.is_set()):
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s):
                    await asyncio.gather(*(one.current.wait() for one in waiting))
        for stream in streams:
            stream.is_relied_on = True
        return all(one.current.is_set() for one in streams)

    def is_current(self, channel: Channel) -> bool:
        """Whether its messages come as they are written; of some they always do."""
        stream = self._streams.get(channel)
        return stream is None or stream.current.is_set()

    def missed(self, owner: bytes, channel: Channel, last: MessageId) -> list[bytes] | None:
        """Messages of a channel since one; None if they are not all here, or too many."""
        stream = self._streams.get(channel)
        if stream is None:
            return []
        records = stream.history.since(owner, last) if stream.current.is_set() else None
        if records is None or not self._has_looked(owner, channel, last):
            return None
        found, size = [], 0
        for record in records:
            found += [told.body for told in messages_of(record) if _is_after(told.id, last)]
            size += len(record.value)
            if len(found) > REPLAY_MAX or size > REPLAY_BYTES_MAX:
                return None
        return found

    def _has_looked(self, owner: bytes, channel: Channel, last: MessageId) -> bool:
        """Whether the project's records were kept since then: events of others are let go."""
        if channel is not Channel.EVENTS:
            return True
        since_ms = self._events_since_ms.get(owner)
        return since_ms is not None and since_ms <= last.created_ms - OVERLAP_MS

    def publish(self, owner: bytes, channel: Channel, body: bytes) -> None:
        """A message that comes from elsewhere than Kafka."""
        for client in self._rooms.get((owner, channel), ()):
            client.push(channel, (body,))

    # What the thread of the tail calls.

    def on_start(self, topic: str, since_ms: int) -> None:
        """See `TailListener.on_start`."""
        self._call(lambda: self._start(CHANNEL_OF[topic], since_ms))

    def on_records(self, records: Sequence[TailRecord], done: Callable[[], None]) -> None:
        """See `TailListener.on_records`."""

        def take() -> None:
            try:
                self.take(records)
            finally:
                done()

        self._call(take)

    def on_current(self, topic: str) -> None:
        """See `TailListener.on_current`."""
        self._call(lambda: self._go_live(CHANNEL_OF[topic]))

    def on_stop(self, topic: str) -> None:
        """See `TailListener.on_stop`."""
        self._call(self._streams[CHANNEL_OF[topic]].current.clear)

    def on_state(self, fault: str | None) -> None:
        """See `TailListener.on_state`."""
        self._call(lambda: self._note_state(fault))

    def _call(self, work: Callable[[], None]) -> None:
        if not self.is_closed:
            self._loop.call_soon_threadsafe(work)

    def _start(self, channel: Channel, since_ms: int) -> None:
        stream = self._streams[channel]
        stream.history.start(since_ms)
        stream.current.clear()
        if stream.is_relied_on:  # Nothing was read for a while, or records were lost.
            for (owner, other), room in self._rooms.items():
                if other is channel:
                    for client in room - stream.waiting.keys():
                        client.tell(gap_message([channel]))
                        self.send_later(client, owner, channel, None)

    def _go_live(self, channel: Channel) -> None:
        stream = self._streams[channel]
        stream.current.set()
        waiting, stream.waiting = stream.waiting, {}
        for client, (owner, since) in waiting.items():
            bodies = self.missed(owner, channel, since)
            if bodies is None:
                client.tell(gap_message([channel]))
            if self.is_up and not self._is_waiting(client):
                client.tell(message("available"))
            client.replay(channel, bodies or ())

    def _is_waiting(self, client: Client) -> bool:
        return any(client in stream.waiting for stream in self._streams.values())

    def _note_state(self, fault: str | None) -> None:
        was_up = self.is_up
        self._fault = fault
        self._is_told.set()
        if was_up and fault is not None:
            # It was noticed some seconds late: what was sent then is sent again.
            self._read_until_ms = self._now_ms() - NOTICED_LATE_MS
        if was_up != self.is_up:
            body = message("available") if self.is_up else self.unavailable()
            for client in {
                client
                for (_, channel), room in self._rooms.items()
                if channel in self._streams
                for client in room
            }:
                if not (self.is_up and self._is_waiting(client)):  # For them it is not over yet.
                    client.tell(body)

    def unavailable(self) -> bytes:
        """What clients are told while Kafka is away."""
        return error_message("UNAVAILABLE", "live messages are late; they come when it is over")

    def take(self, records: Sequence[TailRecord]) -> None:
        """Keep records, and send their messages to whoever is there."""
        now_ms = self._now_ms()
        going: dict[Room, list[bytes]] = {}
        for record in records:
            channel = CHANNEL_OF[record.topic]
            stream = self._streams[channel]
            stream.history.add(record, now_ms)
            owner = project_of(record)
            room = owner, channel
            if record.is_history or (room not in self._rooms and owner not in self.changes):
                continue
            told = messages_of(record)
            if told and room in self._rooms and stream.current.is_set():
                going.setdefault(room, []).extend(one.body for one in told)
            if channel is Channel.SESSIONS and owner in self.changes:
                for one in told:
                    self._count(owner, one.kind)
        for room, bodies in going.items():
            for client in self._rooms[room]:
                client.push(room[1], bodies)

    def _count(self, owner: bytes, kind: str) -> None:
        self.changes[owner]["started" if kind == "session.start" else "ended"] += 1


def gap_message(channels: Sequence[Channel]) -> bytes:
    """Messages of these channels are missing: what they tell of has to be read."""
    return message("gap", {"channels": list(channels)})


def _is_after(one: MessageId, last: MessageId) -> bool:
    """Whether it was certainly not seen by who saw the last: another partition's may have been."""
    if (one.stream, one.partition) != (last.stream, last.partition):
        return True
    return (one.offset, one.place) > (last.offset, last.place)
