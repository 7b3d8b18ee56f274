"""What an API key stands for: looked up in the process, then in Redis, then in PostgreSQL.

In: the SHA-256 of a presented key, in hex. Out: the key's row, or None if there is none.

Guarantees:
- Entries are kept and found by the full hash, never by a prefix of the key.
- A revoked key stops working within `fresh_s` of `KeyCache.revoke` in every process.
- While PostgreSQL is away, a key seen before stays valid `stale_s` longer, and as long as Redis
  keeps it: five minutes at least, ten at most; an unknown one raises RetryableError, so that
  nobody is told "no such key" because of an outage. Neither waits for PostgreSQL.
- While Redis is away, PostgreSQL answers alone.

Source: events.md, section 7 (Key check); deployment.md, section 5.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from prometheus_client import Counter

from connectors.errors import RetryableError
from connectors.telemetry import get_logger
from schemas.records import ProjectKey

SHARED_TTL_S = 300  # events.md, section 7: `apikey:{hash}` for five minutes.
SHARED_MISSING_TTL_S = 30
CACHE_PAUSE_S = 1.0  # After a failure Redis is left alone for this long.

# What a key that is not fresh in the process was answered with; at most one a key and five seconds.
LOOKUPS = Counter("gosight_key_lookups_total", "Keys looked up beyond the process.", ["result"])
FROM_REDIS = LOOKUPS.labels("shared")
FROM_POSTGRES = LOOKUPS.labels("loaded")
NO_SUCH_KEY = LOOKUPS.labels("missing")
STALE_KEY = LOOKUPS.labels("stale")
NO_ANSWER = LOOKUPS.labels("failed")


class Missing(Enum):
    """The marker of a key that is known not to exist."""

    MISSING = "missing"


MISSING = Missing.MISSING


class KeySource(Protocol):
    """Where keys are kept for good."""

    async def load(self, key_hash: str) -> ProjectKey | None:
        """The key's row, or None if there is none. Answers within a second.

        Raises:
            RetryableError: the store cannot be reached.
        """


class KeyCache(Protocol):
    """Rows of keys shared by all gateways, with an expiry."""

    async def read(self, key_hash: str) -> ProjectKey | Missing | None:
        """The row, MISSING if the key is known not to exist, None if nothing is known.

        Raises:
            RetryableError: the cache cannot be reached.
        """

    async def write(self, key_hash: str, key: ProjectKey | None) -> None:
        """Keep a row (None: no such key), unless something is there already.

        Not overwriting is what makes `revoke` safe: a reader that loaded the row just before it
        was revoked finds the mark and leaves it.

        Raises:
            RetryableError: the cache cannot be reached.
        """

    async def revoke(self, key_hash: str) -> None:
        """Replace the row by MISSING for 30 seconds, longer than any load on its way takes.

        Call it after the change in PostgreSQL is committed.

        Raises:
            RetryableError: the cache cannot be reached.
        """

    async def forget(self, key_hash: str) -> None:
        """Drop the row, so that changed settings are read anew.

        Raises:
            RetryableError: the cache cannot be reached.
        """


def hash_key(key: str) -> str:
    """The SHA-256 of a whole key, in hex: what is stored and looked up instead of the key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(slots=True)
class _Entry:
    key: ProjectKey | None
    read_at_s: float


class KeyStore:
    """Keys by hash with a small cache in the process; used by one event loop.

    `fresh_s` bounds how long a revoked key may still work here; `stale_s` how long after that an
    entry may serve while PostgreSQL is away. `entries_max` bounds the memory: the entry unused for
    longest goes first.
    """

    def __init__(
        self,
        source: KeySource,
        cache: KeyCache | None,
        *,
        fresh_s: float = 5.0,
        stale_s: float = 300.0,
        entries_max: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._cache = cache
        self._fresh_s = fresh_s
        self._stale_s = stale_s
        self._entries_max = entries_max
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._loads: dict[str, asyncio.Task[ProjectKey | None]] = {}
        self._cache_paused_until_s = 0.0
        self._cache_is_away = False

    def find_cached(self, key_hash: str) -> ProjectKey | None:
        """The key if the process knows it and the entry is fresh; None says nothing."""
        entry = self._entries.get(key_hash)
        if entry is None or self._clock() - entry.read_at_s > self._fresh_s:
            return None
        return entry.key

    async def find(self, key_hash: str) -> ProjectKey | None:
        """The key with this hash, or None if there is none. One load at a time per key.

        Raises:
            RetryableError: PostgreSQL is away and the key is not cached.
        """
        entry = self._entries.get(key_hash)
        if entry is not None and self._clock() - entry.read_at_s <= self._fresh_s:
            self._entries.move_to_end(key_hash)
            return entry.key
        load = self._loads.get(key_hash)
        if load is None:
            load = asyncio.create_task(self._load(key_hash))
            self._loads[key_hash] = load
            load.add_done_callback(lambda task: self._forget_load(key_hash, task))
        # Shielded: one caller's cancellation must not fail the others.
        return await asyncio.shield(load)

    async def check(self) -> str | None:
        """None if keys can be looked up, else one sentence why not."""
        try:
            await self._source.load("0" * 64)
        except RetryableError as error:
            return str(error)
        return None

    def _forget_load(self, key_hash: str, task: asyncio.Task[ProjectKey | None]) -> None:
        self._loads.pop(key_hash, None)
        if not task.cancelled():
            task.exception()  # Seen by the waiting callers; if there are none, it is no news.

    async def _load(self, key_hash: str) -> ProjectKey | None:
        shared = await self._read_shared(key_hash)
        if shared is MISSING:
            NO_SUCH_KEY.inc()
            return self._keep(key_hash, None)
        if shared is not None and hmac.compare_digest(shared.key_hash, key_hash):
            FROM_REDIS.inc()
            return self._keep(key_hash, shared)
        try:
            key = await self._source.load(key_hash)
        except RetryableError:
            entry = self._entries.get(key_hash)
            stale_until_s = self._fresh_s + self._stale_s
            # Nothing is known for sure of a key that was not there: it may have come since.
            if (
                entry is None
                or entry.key is None
                or self._clock() - entry.read_at_s > stale_until_s
            ):
                NO_ANSWER.inc()
                raise
            STALE_KEY.inc()
            return entry.key
        if key is not None and not hmac.compare_digest(key.key_hash, key_hash):
            key = None
        (NO_SUCH_KEY if key is None else FROM_POSTGRES).inc()
        await self._write_shared(key_hash, key)
        return self._keep(key_hash, key)

    def _keep(self, key_hash: str, key: ProjectKey | None) -> ProjectKey | None:
        self._entries[key_hash] = _Entry(key, self._clock())
        self._entries.move_to_end(key_hash)
        while len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)
        return key

    async def _read_shared(self, key_hash: str) -> ProjectKey | Missing | None:
        if self._cache is None or self._clock() < self._cache_paused_until_s:
            return None
        try:
            found = await self._cache.read(key_hash)
        except RetryableError as error:
            self._pause_cache(error)
            return None
        if self._cache_is_away:
            self._cache_is_away = False
            get_logger().info("key_cache_back")
        return found

    async def _write_shared(self, key_hash: str, key: ProjectKey | None) -> None:
        if self._cache is None or self._clock() < self._cache_paused_until_s:
            return
        try:
            await self._cache.write(key_hash, key)
        except RetryableError as error:
            self._pause_cache(error)

    def _pause_cache(self, error: RetryableError) -> None:
        self._cache_paused_until_s = self._clock() + CACHE_PAUSE_S
        if not self._cache_is_away:
            self._cache_is_away = True
            get_logger().warning("key_cache_away", reason=str(error))
