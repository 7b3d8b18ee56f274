"""One suite over the live figures in Redis and their in-memory twin."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import redis

from connectors.live_counters import (
    LIVE_FAILURES,
    LiveCounters,
    RedisLiveCounters,
    page_views_key,
    sessions_key,
)
from connectors.memory_store import MemoryLiveCounters

MINUTE_MS = 1_795_255_200_000


@dataclass
class Live:
    """One implementation, and how its figures are read back."""

    counters: LiveCounters
    sessions: Callable[[str], int]
    page_views: Callable[[str, str], int]


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.integration)])
def live(request: pytest.FixtureRequest) -> Iterator[Live]:
    """Both implementations."""
    if request.param == "memory":
        memory = MemoryLiveCounters()
        yield Live(
            memory,
            lambda project: len(memory.sessions[project, MINUTE_MS]),
            lambda project, path: sum(memory.page_views[project, path, MINUTE_MS].values()),
        )
        return
    url = request.getfixturevalue("running_stack").redis_url
    client = redis.Redis.from_url(url)
    yield Live(
        RedisLiveCounters(url),
        lambda project: client.pfcount(sessions_key(project, MINUTE_MS)),
        lambda project, path: sum(map(int, client.hvals(page_views_key(project, path, MINUTE_MS)))),
    )
    client.close()


def test_values_are_absolute_and_repeating_changes_nothing(live: Live) -> None:
    """The same block twice, and a later one that says more."""
    project = uuid.uuid4().hex
    for _ in range(2):
        live.counters.put(
            {(project, MINUTE_MS): ["s1", "s2"]}, {(project, "/a", MINUTE_MS): 3}, "0"
        )
    assert (live.sessions(project), live.page_views(project, "/a")) == (2, 3)
    live.counters.put({(project, MINUTE_MS): ["s2", "s3"]}, {(project, "/a", MINUTE_MS): 5}, "0")
    assert (live.sessions(project), live.page_views(project, "/a")) == (3, 5)


def test_partitions_add_up_and_projects_do_not(live: Live) -> None:
    """Each partition writes its own count."""
    project, other = uuid.uuid4().hex, uuid.uuid4().hex
    live.counters.put({}, {(project, "/a", MINUTE_MS): 2, (other, "/a", MINUTE_MS): 9}, "0")
    live.counters.put({}, {(project, "/a", MINUTE_MS): 4}, "1")
    assert live.page_views(project, "/a") == 6
    assert live.page_views(project, "/b") == 0


def test_an_outage_is_counted_and_never_raised() -> None:
    """Live figures may be lost; the events behind them may not wait for Redis."""
    before = LIVE_FAILURES._value.get()
    RedisLiveCounters("redis://127.0.0.1:1/0").put({("p", MINUTE_MS): ["s"]}, {}, "0")
    assert LIVE_FAILURES._value.get() == before + 1
