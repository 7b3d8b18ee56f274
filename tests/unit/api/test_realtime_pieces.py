"""Live messages without servers: what is read, kept, sent and left out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from aiohttp import WSMsgType
from hypothesis import given
from hypothesis import strategies as st

from api.realtime.client import QUEUE_BYTES_MAX, QUEUE_MAX, RATE_PER_S, Client
from api.realtime.history import OVERLAP_MS, History
from api.realtime.hub import REPLAY_MAX, Hub
from api.realtime.messages import (
    Channel,
    MessageError,
    MessageId,
    Subscribe,
    position_of,
    read_message,
)
from api.realtime.records import CHANNEL_OF, messages_of
from connectors.kafka_tail import TailRecord
from schemas.topics import ALERTS, EVENTS_RAW, INSIGHTS, SESSIONS
from schemas.v1.pipeline_pb2 import Insight
from tests.factories import NOW_MS, PROJECT

OTHER = "7c0a1f9e-1111-4b57-9a3e-7d8a4d1c2f10"


def record(
    offset: int,
    *,
    project_id: str = PROJECT,
    at_ms: int = NOW_MS,
    partition: int = 0,
    size: int = 0,
    is_history: bool = False,
) -> TailRecord:
    """An insight."""
    value = Insight(project_id=project_id, insight_id=str(offset), url="u" * size)
    return TailRecord(
        INSIGHTS.name,
        partition,
        offset,
        at_ms,
        project_id.encode(),
        value.SerializeToString(),
        is_history,
    )


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda b: b.decode("latin-1")))
def test_any_text_is_a_message_or_refused(text: str) -> None:
    """No text of a client is a surprise."""
    with suppress(MessageError):
        assert read_message(text).type in {"auth", "subscribe", "unsubscribe", "ping"}


def test_a_subscription_is_read() -> None:
    """Names become channels; an id has a form."""
    said = read_message('{"type":"subscribe","channels":["events","alerts"]}')
    assert isinstance(said, Subscribe)
    assert said.channels == [Channel.EVENTS, Channel.ALERTS]
    assert said.last_id is None
    for bad in ("", "1-s1-2-3", "1795255200000-s1-2", "1795255200000-S1-2-3", "x\n"):
        body = json.dumps({"type": "subscribe", "channels": ["events"], "last_id": bad})
        with pytest.raises(MessageError):
            read_message(body)


@given(
    st.builds(
        MessageId,
        st.integers(0, 9_999_999_999_999),
        st.sampled_from("seiax"),
        st.integers(0, 99_999),
        st.integers(0, 2**62),
        st.integers(0, 99_999),
    )
)
def test_ids_are_read_as_they_are_written(made: MessageId) -> None:
    """And sort as texts by their time."""
    assert MessageId.read(str(made)) == made
    body = {"type": "subscribe", "channels": ["events"], "last_id": str(made)}
    assert isinstance(read_message(json.dumps(body)), Subscribe)
    if made.created_ms:
        assert str(position_of(made.created_ms - 1)) < str(made)


@pytest.mark.parametrize("topic", [SESSIONS, INSIGHTS, ALERTS, EVENTS_RAW], ids=lambda t: t.name)
@pytest.mark.parametrize("value", [b"", b"\xff", b"\x0a\xff", b"\x08\x96\x01" * 9])
def test_what_cannot_be_read_is_nothing(topic: Any, value: bytes) -> None:
    """A damaged record does not end the reading of others."""
    key = f"{PROJECT}:x".encode()
    assert messages_of(TailRecord(topic.name, 0, 1, NOW_MS, key, value, False)) == []


def test_history_gives_what_may_have_been_missed() -> None:
    """Of one project, since the last message and a bit before; None where records are gone."""
    history = History(60_000, 1_000, 1_000_000)
    last = MessageId(NOW_MS, "i", 0, 5, 0)
    assert history.since(PROJECT.encode(), last) is None
    history.start(NOW_MS - 60_000)
    times = [NOW_MS - OVERLAP_MS - 1, NOW_MS - OVERLAP_MS, NOW_MS, NOW_MS + 9]
    for offset, at_ms in enumerate(times):
        history.add(record(offset, at_ms=at_ms), NOW_MS)
        history.add(record(offset, at_ms=at_ms, project_id=OTHER), NOW_MS)
    found = history.since(PROJECT.encode(), last)
    assert found is not None
    assert [one.offset for one in found] == [1, 2, 3]
    history.add(record(9, at_ms=NOW_MS + 60_000), NOW_MS + 60_000)
    assert history.since(PROJECT.encode(), last) is None
    assert history.since(PROJECT.encode(), last._replace(created_ms=NOW_MS + 50_000)) is not None


@pytest.mark.parametrize(("records_max", "bytes_max"), [(10, 10**9), (10**9, 10_000)])
def test_history_is_bounded(records_max: int, bytes_max: int) -> None:
    """In number and in bytes; the oldest go first, of whomever they are."""
    history = History(10**9, records_max, bytes_max)
    history.start(0)
    for number in range(100):
        owner = OTHER if number % 3 else PROJECT
        history.add(
            record(number, project_id=owner, at_ms=NOW_MS + number * 1_000, size=700), NOW_MS
        )
    last = MessageId(NOW_MS + 99_000, "i", 0, 0, 0)
    kept = [
        one.offset
        for owner in (PROJECT, OTHER)
        for one in history.since(owner.encode(), last._replace(created_ms=NOW_MS + 115_000)) or ()
    ]
    assert history.since(PROJECT.encode(), MessageId(NOW_MS, "i", 0, 0, 0)) is None
    assert len(kept) <= 10
    assert history._bytes <= max(bytes_max, 20_000)
    assert len(history._owners) <= 10


class Socket:
    """Takes frames while it is `open`."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.open = asyncio.Event()
        self.open.set()

    async def send_frame(self, body: bytes, kind: WSMsgType) -> None:
        """As the real one: it waits while the other side does not read."""
        await self.open.wait()
        if kind is WSMsgType.TEXT:
            self.sent.append(body)

    def kinds(self) -> list[str]:
        """Types of what was sent."""
        return [msgspec.json.decode(body)["type"] for body in self.sent]


class Time:
    """A clock."""

    now_s = 100.0

    def __call__(self) -> float:
        """Now."""
        return self.now_s


async def drained(work: asyncio.Task[None]) -> None:
    """Let the writer run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)
    assert not work.done()


async def test_a_client_gets_fifty_a_second() -> None:
    """What is more is counted and told; figures and answers are not held back."""
    socket, clock = Socket(), Time()
    client = Client(socket, clock)  # type: ignore[arg-type]
    work = asyncio.create_task(client.write())
    client.push(Channel.INSIGHTS, [b'{"type":"insight"}'] * (RATE_PER_S + 30))
    client.push(Channel.METRICS, [b'{"type":"metrics"}'])
    await drained(work)
    client.tell_dropped()
    await drained(work)
    assert socket.kinds() == ["insight"] * RATE_PER_S + ["metrics", "dropped"]
    assert msgspec.json.decode(socket.sent[-1])["data"] == {"count": 30}
    clock.now_s += 0.2
    client.push(Channel.INSIGHTS, [b'{"type":"insight"}'] * 30)
    client.tell_dropped()
    await drained(work)
    assert socket.kinds()[RATE_PER_S + 2 :] == ["insight"] * 10
    work.cancel()


@pytest.mark.parametrize("size", [100, 100_000])
async def test_what_waits_for_a_client_is_bounded(size: int) -> None:
    """In number and bytes, whatever is pushed and however; and it is known that it is stuck."""
    socket, clock = Socket(), Time()
    client = Client(socket, clock)  # type: ignore[arg-type]
    work = asyncio.create_task(client.write())
    socket.open.clear()
    for _ in range(200):
        clock.now_s += 1
        client.push(Channel.INSIGHTS, [b"x" * size] * 40)
        await drained(work)
    assert client.stuck_s >= 198
    assert len(client._queue) <= QUEUE_MAX
    assert sum(map(len, client._queue)) <= QUEUE_BYTES_MAX
    work.cancel()


class Ear:
    """A client that remembers."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def push(self, channel: Channel, bodies: Sequence[bytes]) -> None:
        """Messages of a channel."""
        self.heard += [msgspec.json.decode(body)["data"]["insight_id"] for body in bodies]

    replay = push

    def tell(self, body: bytes) -> None:
        """Something else."""
        self.heard.append(msgspec.json.decode(body)["type"])


async def test_rooms_are_of_one_project() -> None:
    """Live records reach their project's clients alone; older ones reach nobody unasked."""
    wanted: list[frozenset[bytes]] = []
    hub = Hub(lambda: NOW_MS, wanted.append, linger_s=0.0)
    ours, theirs = Ear(), Ear()
    hub.join(ours, PROJECT.encode(), Channel.INSIGHTS)  # type: ignore[arg-type]
    hub.join(theirs, OTHER.encode(), Channel.INSIGHTS)  # type: ignore[arg-type]
    for topic in CHANNEL_OF:
        hub.on_start(topic, NOW_MS - 60_000)
        hub.on_current(topic)
    hub.on_state(None)
    await asyncio.sleep(0)
    assert await hub.wait_until_current(Channel)
    assert (ours.heard, theirs.heard) == (["available"], ["available"])
    ours.heard, theirs.heard = [], []
    done: list[int] = []
    batch = [record(1, is_history=True), record(2), record(3, project_id=OTHER), record(4)]
    hub.on_records(batch, lambda: done.append(1))
    await asyncio.sleep(0)
    assert (ours.heard, theirs.heard, done) == (["2", "4"], ["3"], [1])
    last = MessageId(NOW_MS, "i", 0, 2, 0)
    missed = hub.missed(PROJECT.encode(), Channel.INSIGHTS, last)
    assert missed is not None
    assert [msgspec.json.decode(body)["data"]["insight_id"] for body in missed] == ["4"]
    hub.leave(ours, PROJECT.encode(), Channel.INSIGHTS)  # type: ignore[arg-type]
    hub.on_records([record(5)], lambda: None)
    await asyncio.sleep(0)
    assert ours.heard == ["2", "4"]
    # Records were lost: who relied on them is told. So is everybody when the brokers go and come.
    hub.on_start(INSIGHTS.name, NOW_MS)
    hub.on_state("away")
    hub.on_state(None)
    await asyncio.sleep(0)
    assert theirs.heard == ["3", "gap", "error"]
    assert hub.missed(OTHER.encode(), Channel.INSIGHTS, last) is None
    hub.on_current(INSIGHTS.name)
    await asyncio.sleep(0)
    assert theirs.heard == ["3", "gap", "error", "gap", "available"]


async def test_who_comes_before_the_history_is_read_misses_nothing() -> None:
    """What is written after the subscription follows when all of before is read, in order, once."""
    now_ms = NOW_MS
    hub = Hub(lambda: now_ms, lambda _: None, wait_s=0.0)
    owner = PROJECT.encode()
    new, back, gone = Ear(), Ear(), Ear()
    hub.on_start(INSIGHTS.name, NOW_MS - 60_000)
    hub.on_state(None)
    await asyncio.sleep(0)
    assert not await hub.wait_until_current([Channel.INSIGHTS])
    for ear in (new, back, gone):
        hub.join(ear, owner, Channel.INSIGHTS)  # type: ignore[arg-type]
    hub.send_later(new, owner, Channel.INSIGHTS, None)  # type: ignore[arg-type]
    seen = MessageId(NOW_MS - 30_000, "i", 0, 1, 0)
    hub.send_later(back, owner, Channel.INSIGHTS, seen)  # type: ignore[arg-type]
    hub.send_later(gone, owner, Channel.INSIGHTS, None)  # type: ignore[arg-type]
    hub.leave(gone, owner, Channel.INSIGHTS)  # type: ignore[arg-type]
    now_ms += 20_000
    assert hub.position() == position_of(NOW_MS)
    long_ago_ms, before_ms = NOW_MS - 50_000, NOW_MS - 25_000
    hub.take(
        [
            record(0, at_ms=long_ago_ms, is_history=True),
            record(2, at_ms=before_ms, is_history=True),
            record(3, is_history=True),
            record(4),  # Of a partition whose end was reached.
        ]
    )
    assert (new.heard, back.heard) == ([], [])
    hub.on_current(INSIGHTS.name)
    await asyncio.sleep(0)
    assert new.heard == ["available", "3", "4"]
    assert back.heard == ["available", "2", "3", "4"]
    assert gone.heard == []
    hub.take([record(5)])
    assert new.heard[-1] == back.heard[-1] == "5"
    assert hub.position() == position_of(now_ms)


async def test_events_are_looked_at_while_somebody_wants_them() -> None:
    """The tail is told of each project, and that nobody is left a while after."""
    wanted: list[frozenset[bytes]] = []
    hub = Hub(lambda: NOW_MS, wanted.append, linger_s=0.0)
    one, two = Ear(), Ear()
    ours, theirs = PROJECT.encode(), OTHER.encode()
    hub.join(one, ours, Channel.EVENTS)  # type: ignore[arg-type]
    hub.join(two, theirs, Channel.EVENTS)  # type: ignore[arg-type]
    hub.leave(one, ours, Channel.EVENTS)  # type: ignore[arg-type]
    hub.join(one, ours, Channel.EVENTS)  # type: ignore[arg-type]
    hub.leave(two, theirs, Channel.EVENTS)  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    hub.leave(one, ours, Channel.EVENTS)  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    assert wanted == [{ours}, {ours, theirs}, {ours}, set()]


async def test_too_much_to_send_again_is_a_gap() -> None:
    """More than a thousand messages are read by the calls."""
    hub = Hub(lambda: NOW_MS, lambda _: None)
    hub.on_start(INSIGHTS.name, NOW_MS - 60_000)
    hub.on_current(INSIGHTS.name)
    await asyncio.sleep(0)
    last = MessageId(NOW_MS, "i", 1, 0, 0)
    hub.take([record(number) for number in range(REPLAY_MAX)])
    found = hub.missed(PROJECT.encode(), Channel.INSIGHTS, last)
    assert found is not None
    assert len(found) == REPLAY_MAX
    hub.take([record(REPLAY_MAX)])
    assert hub.missed(PROJECT.encode(), Channel.INSIGHTS, last) is None
