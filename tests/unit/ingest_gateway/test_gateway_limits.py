"""The rate limit: portions of one shared bucket, local buckets while it is away."""

from __future__ import annotations

import asyncio

import pytest

from connectors.memory import MemoryTokenBuckets
from ingest_gateway.errors import ErrorKind, RefusedError
from ingest_gateway.limits import RateGuard
from schemas.records import ProjectKey
from tests.gateway_world import make_key


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now_s


async def count_let_through(guard: RateGuard, key: ProjectKey, tries: int) -> int:
    """How many of so many requests get through."""
    passed = 0
    for _ in range(tries):
        try:
            await guard.take(key)
        except RefusedError:
            continue
        passed += 1
    return passed


async def test_burst_is_exact_for_one_process() -> None:
    """Exactly the burst gets through at once; the next one is refused with the real wait."""
    clock = Clock()
    guard = RateGuard(MemoryTokenBuckets(clock), clock=clock)
    key = make_key(rate_limit_per_s=100, burst=5000)
    assert await count_let_through(guard, key, 5000) == 5000
    with pytest.raises(RefusedError) as refused:
        await guard.take(key)
    assert refused.value.kind is ErrorKind.RATE_LIMITED
    assert refused.value.retry_after_s == pytest.approx(0.01)


async def test_two_processes_share_one_bucket() -> None:
    """The portions of all processes come out of one burst."""
    clock = Clock()
    buckets = MemoryTokenBuckets(clock)
    guards = [RateGuard(buckets, clock=clock) for _ in range(2)]
    key = make_key(rate_limit_per_s=1000, burst=1000)
    passed = [await count_let_through(guard, key, 800) for guard in guards]
    assert sum(passed) == 1000


async def test_refill_lets_through_what_was_earned() -> None:
    """After a second as many get through as the rate says."""
    clock = Clock()
    guard = RateGuard(MemoryTokenBuckets(clock), clock=clock)
    key = make_key(rate_limit_per_s=100, burst=500)
    await count_let_through(guard, key, 500)
    clock.now_s += 1.0
    assert await count_let_through(guard, key, 500) == 100


async def test_refused_key_asks_redis_no_more_until_its_time() -> None:
    """A client that does not wait costs no round trips."""
    clock = Clock()
    buckets = MemoryTokenBuckets(clock)
    guard = RateGuard(buckets, clock=clock)
    key = make_key(rate_limit_per_s=1, burst=1)
    await guard.take(key)
    await count_let_through(guard, key, 1)
    calls = buckets.calls
    assert await count_let_through(guard, key, 1000) == 0
    assert buckets.calls == calls
    clock.now_s += 1.0
    assert await count_let_through(guard, key, 1) == 1


async def test_most_requests_need_no_round_trip() -> None:
    """A portion serves a tenth of a second's requests."""
    clock = Clock()
    buckets = MemoryTokenBuckets(clock)
    guard = RateGuard(buckets, clock=clock)
    await count_let_through(guard, make_key(), 1000)
    assert buckets.calls == 10


async def test_old_portion_is_given_up() -> None:
    """Tokens fetched long ago are not spent on top of the bucket."""
    clock = Clock()
    guard = RateGuard(MemoryTokenBuckets(clock), clock=clock)
    key = make_key(rate_limit_per_s=1000, burst=1000)
    await guard.take(key)
    clock.now_s += 60.0
    assert await count_let_through(guard, key, 3000) == 1000


async def test_without_redis_each_process_limits_by_itself() -> None:
    """Ingestion goes on with a whole local bucket, and this is told once."""
    clock = Clock()
    buckets = MemoryTokenBuckets(clock)
    told: list[bool] = []
    guard = RateGuard(buckets, clock=clock, on_fallback=told.append)
    key = make_key(rate_limit_per_s=10, burst=50)
    buckets.is_away = True
    assert await count_let_through(guard, key, 60) == 50
    assert told == [True]
    clock.now_s += 1.0
    assert await count_let_through(guard, key, 60) == 10
    buckets.is_away = False
    clock.now_s += 2.0
    await guard.take(key)
    assert told == [True, False]


async def test_many_tasks_fetch_once() -> None:
    """Requests that come together wait for one round trip."""
    clock = Clock()
    buckets = MemoryTokenBuckets(clock)
    guard = RateGuard(buckets, clock=clock)
    key = make_key()
    await asyncio.gather(*(guard.take(key) for _ in range(100)))
    assert buckets.calls == 1
