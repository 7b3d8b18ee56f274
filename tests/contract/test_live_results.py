"""One suite over live sessions and insights in Redis and their in-memory twin."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import redis

from connectors.live_counters import LIVE_FAILURES
from connectors.live_results import (
    RECENT_MAX,
    SESSION_TTL_MS,
    LiveInsight,
    LiveResults,
    LiveSession,
    RedisLiveResults,
    channel,
    documents_key,
    recent_key,
    state_key,
)
from connectors.memory_results import MemoryLiveResults

NOW_MS = int(time.time() * 1000)


@dataclass
class World:
    """One implementation, and how what it keeps is read back."""

    live: LiveResults
    state: Callable[[str], dict[str, str]]
    recent: Callable[[str], dict[str, bytes]]
    published: Callable[[str], list[bytes]]


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.integration)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Both implementations."""
    if request.param == "memory":
        memory = MemoryLiveResults(lambda: NOW_MS)
        yield World(
            memory,
            lambda session: memory.states.get(session, {}),
            lambda project: {key: i.document for key, i in memory.recent[project].items()},
            lambda project: memory.published[project],
        )
        return
    url = request.getfixturevalue("running_stack").redis_url
    client = redis.Redis.from_url(url)
    listener = client.pubsub(ignore_subscribe_messages=True)
    listener.psubscribe("realtime:*:insights")
    heard: list[tuple[str, bytes]] = []

    def published(project: str) -> list[bytes]:
        deadline = time.monotonic() + 0.5
        while time.monotonic() < deadline:
            message = listener.get_message(timeout=0.1)
            if message is not None:
                heard.append((message["channel"].decode(), message["data"]))
        return [data for name, data in heard if name == channel(project)]

    def recent(project: str) -> dict[str, bytes]:
        documents = client.hgetall(documents_key(project))
        ids = client.zrange(recent_key(project), 0, -1)
        assert sorted(ids) == sorted(documents)
        return {key.decode(): documents[key] for key in ids}

    yield World(
        RedisLiveResults(url, lambda: NOW_MS),
        lambda session: {
            key.decode(): value.decode()
            for key, value in client.hgetall(state_key(session)).items()
        },
        recent,
        published,
    )
    listener.close()
    client.close()


def a_session(project: str, session: str, revision: int, *, age_ms: int = 0) -> LiveSession:
    """A session that says its revision as its page count."""
    return LiveSession(project, session, revision, NOW_MS - age_ms, {"page_count": str(revision)})


def an_insight(
    project: str, name: str, at_ms: int = NOW_MS, *, preview: bool = False
) -> LiveInsight:
    """An insight whose document is its name."""
    return LiveInsight(project, name, at_ms, name.encode(), preview)


def test_only_a_newer_revision_replaces_a_session(world: World) -> None:
    """Values are absolute; what comes again or too late changes nothing."""
    project, session = uuid.uuid4().hex, uuid.uuid4().hex
    for revision in (1, 3, 2, 3):
        world.live.put([a_session(project, session, revision)], [])
    expected = {"project_id": project, "revision": "3", "page_count": "3"}
    assert world.state(session) == expected


def test_another_project_cannot_write_over_a_session(world: World) -> None:
    """Session ids come from browsers, and anybody may send one."""
    project, session = uuid.uuid4().hex, uuid.uuid4().hex
    world.live.put([a_session(project, session, 1)], [])
    world.live.put([a_session("other", session, 9)], [])
    assert world.state(session)["project_id"] == project


def test_a_session_that_is_over_is_not_shown(world: World) -> None:
    """What is read again after hours is history."""
    session = uuid.uuid4().hex
    world.live.put([a_session("p", session, 1, age_ms=SESSION_TTL_MS)], [])
    assert world.state(session) == {}


def test_newest_insights_are_kept_once_each(world: World) -> None:
    """A bounded list, by time of the visitor's action, whatever the order of coming."""
    project = uuid.uuid4().hex
    insights = [an_insight(project, f"i{n:03}", NOW_MS + n) for n in range(RECENT_MAX + 20)]
    world.live.put([], insights[100:])
    world.live.put([], insights)
    assert sorted(world.recent(project)) == [i.insight_id for i in insights[20:]]


def test_each_insight_is_announced_once(world: World) -> None:
    """A redelivery announces nothing; a preview comes before its insight and never after."""
    project = uuid.uuid4().hex
    world.live.put([], [an_insight(project, "a", preview=True)])
    assert world.recent(project) == {}
    for _ in range(2):
        world.live.put([], [an_insight(project, "a"), an_insight(project, "b")])
    world.live.put([], [an_insight(project, "a", preview=True)])
    assert world.published(project) == [b"a", b"a", b"b"]
    assert world.recent(project) == {"a": b"a", "b": b"b"}


def test_projects_do_not_meet(world: World) -> None:
    """Each has its own list and channel."""
    one, other = uuid.uuid4().hex, uuid.uuid4().hex
    world.live.put([], [an_insight(one, "a"), an_insight(other, "b")])
    assert list(world.recent(one)) == ["a"]
    assert world.published(other) == [b"b"]


@pytest.mark.integration
def test_a_state_goes_half_an_hour_after_the_last_event(request: pytest.FixtureRequest) -> None:
    """Not after the last write: a late write must not keep what is over."""
    url = request.getfixturevalue("running_stack").redis_url
    session = uuid.uuid4().hex
    RedisLiveResults(url, lambda: NOW_MS).put([a_session("p", session, 1, age_ms=600_000)], [])
    with redis.Redis.from_url(url) as client:
        assert 1_190_000 < client.pttl(state_key(session)) <= 1_200_000


def test_an_outage_is_counted_never_raised_and_not_waited_for_each_time() -> None:
    """Rows may not wait for Redis."""
    before = LIVE_FAILURES._value.get()
    live = RedisLiveResults("redis://127.0.0.1:1/0")
    for _ in range(3):
        live.put([a_session("p", "s", 1)], [])
    assert LIVE_FAILURES._value.get() == before + 3
