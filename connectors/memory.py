"""In-memory twins of the stores that the gateway reads: for unit tests and dry runs.

They keep the same contract as `connectors.postgres` and `connectors.redis` and can be told to be
away, which raises what the real ones raise.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from connectors.errors import RetryableError
from connectors.keys import MISSING, SHARED_MISSING_TTL_S, SHARED_TTL_S, Missing
from connectors.redis import Taken
from schemas.records import ProjectKey


class MemoryKeySource:
    """Twin of `PostgresKeySource`; `loads` counts the look-ups."""

    def __init__(self, keys: Mapping[str, ProjectKey] | None = None) -> None:
        self.keys: dict[str, ProjectKey] = dict(keys or {})
        self.is_away = False
        self.loads = 0

    def add(self, key: ProjectKey) -> None:
        """Store or replace a key's row."""
        self.keys[key.key_hash] = key

    def remove(self, key_hash: str) -> None:
        """Take a key's row away."""
        self.keys.pop(key_hash, None)

    async def load(self, key_hash: str) -> ProjectKey | None:
        """See `KeySource.load`."""
        self.loads += 1
        if self.is_away:
            raise RetryableError("PostgreSQL is away: told so")
        return self.keys.get(key_hash)


class MemoryKeyCache:
    """Twin of `RedisKeyCache`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[str, tuple[ProjectKey | Missing, float]] = {}
        self.is_away = False

    async def read(self, key_hash: str) -> ProjectKey | Missing | None:
        """See `KeyCache.read`."""
        self._raise_if_away()
        return self._alive(key_hash)

    async def write(self, key_hash: str, key: ProjectKey | None) -> None:
        """See `KeyCache.write`."""
        self._raise_if_away()
        if self._alive(key_hash) is None:
            self._put(key_hash, MISSING if key is None else key)

    async def revoke(self, key_hash: str) -> None:
        """See `KeyCache.revoke`."""
        self._raise_if_away()
        self._put(key_hash, MISSING)

    async def forget(self, key_hash: str) -> None:
        """See `KeyCache.forget`."""
        self._raise_if_away()
        self._entries.pop(key_hash, None)

    def _alive(self, key_hash: str) -> ProjectKey | Missing | None:
        entry = self._entries.get(key_hash)
        return entry[0] if entry is not None and entry[1] > self._clock() else None

    def _put(self, key_hash: str, key: ProjectKey | Missing) -> None:
        ttl_s = SHARED_MISSING_TTL_S if key is MISSING else SHARED_TTL_S
        self._entries[key_hash] = (key, self._clock() + ttl_s)

    def _raise_if_away(self) -> None:
        if self.is_away:
            raise RetryableError("Redis is away: told so")


class MemoryTokenBuckets:
    """Twin of `RedisTokenBuckets`; `calls` counts the round trips.

    It keeps the `buckets_max` used last: also good as a stand-in while Redis is away.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, buckets_max: int = 10_000
    ) -> None:
        self._clock = clock
        self._buckets_max = buckets_max
        # By name: tokens, at (seconds).
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self.counters: dict[tuple[str, int], int] = {}
        self.is_away = False
        self.calls = 0

    async def take(
        self, key_hash: str, *, rate_per_s: float, burst: int, needed: int, wanted: int
    ) -> tuple[int, float]:
        """See `TokenBuckets.take`."""
        granted, wait_s, _left = self._ask(key_hash, rate_per_s, burst, needed, wanted)
        return granted, wait_s

    async def take_one(self, name: str, *, rate_per_s: float, burst: int) -> Taken:
        """See `TokenBuckets.take_one`."""
        granted, wait_s, left = self._ask(name, rate_per_s, burst, 1, 1)
        return Taken(granted == 1, wait_s, left)

    async def wait_for_one(self, name: str, *, rate_per_s: float, burst: int) -> float:
        """See `TokenBuckets.wait_for_one`."""
        return self._ask(name, rate_per_s, burst, 1, 0)[1]

    def _ask(
        self, name: str, rate_per_s: float, burst: int, needed: int, wanted: int
    ) -> tuple[int, float, int]:
        self.calls += 1
        self._raise_if_away()
        now_s = self._clock()
        tokens, at_s = self._buckets.get(name, (float(burst), now_s))
        tokens = min(float(burst), tokens + (now_s - at_s) * rate_per_s)
        is_enough = tokens >= needed
        granted = min(int(tokens), wanted) if is_enough else 0
        self._buckets[name] = (tokens - granted, now_s)
        self._buckets.move_to_end(name)
        if len(self._buckets) > self._buckets_max:
            self._buckets.popitem(last=False)
        return granted, 0.0 if is_enough else (needed - tokens) / rate_per_s, int(tokens - granted)

    async def add_to_counters(self, counts: Mapping[tuple[str, int], int]) -> None:
        """See `RedisTokenBuckets.add_to_counters`."""
        self._raise_if_away()
        for name, count in counts.items():
            self.counters[name] = self.counters.get(name, 0) + count

    def _raise_if_away(self) -> None:
        if self.is_away:
            raise RetryableError("Redis is away: told so")
