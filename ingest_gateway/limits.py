"""How many requests a key may make: a token bucket in Redis with a small local store of tokens.

In: a key and the cost of one request. Out: nothing, or a refusal with the real wait.

Tokens are fetched from Redis in portions of a tenth of a second's worth (at least one, at most a
tenth of the burst), so that most requests need no round trip. Portions are taken from the one
shared bucket, so all processes together never let more through than burst + rate x time, plus at
most one portion per process whose tokens were fetched up to `PORTION_LIFE_S` earlier; a portion
unused for that long is given up.

While Redis is away each process has a whole bucket of its own, and says so in the log and in a
metric: ingestion goes on, the limit of a key is then `processes` times as high.
Source: events.md, section 7 (Key check); deployment.md, section 5.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from connectors.errors import RetryableError
from connectors.redis import TokenBuckets
from connectors.telemetry import get_logger
from ingest_gateway.errors import ErrorKind, RefusedError
from schemas.records import ProjectKey

PORTION_S = 0.1
PORTION_LIFE_S = 1.0
KEYS_MAX = 10_000
SHARED_PAUSE_S = 1.0  # After a failure Redis is left alone for this long.


@dataclass(slots=True)
class _Portion:
    """Tokens of one key that this process may spend."""

    tokens: float = 0.0
    fetched_at_s: float = 0.0
    refused_until_s: float = 0.0
    # The process's own bucket, used while Redis is away; None until then.
    local_tokens: float | None = None
    local_at_s: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class RateGuard:
    """Lets requests through by key. `on_fallback(is_local)` is told when the mode changes."""

    def __init__(
        self,
        buckets: TokenBuckets | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_fallback: Callable[[bool], None] = lambda _is_local: None,
    ) -> None:
        self._buckets = buckets
        self._clock = clock
        self._on_fallback = on_fallback
        self._portions: OrderedDict[str, _Portion] = OrderedDict()
        self._shared_paused_until_s = 0.0
        self._is_local = False

    def take_now(self, key_hash: str) -> bool:
        """Take one token if this process holds one; False says nothing about the limit."""
        portion = self._portions.get(key_hash)
        if portion is None or portion.tokens < 1:
            return False
        if self._clock() - portion.fetched_at_s > PORTION_LIFE_S:
            return False
        portion.tokens -= 1
        return True

    async def take(self, key: ProjectKey) -> None:
        """Take one token, waiting for Redis if this process holds none.

        Raises:
            RefusedError: RATE_LIMITED with the seconds until a token is there.
        """
        if self.take_now(key.key_hash):
            return
        portion = self._portion(key.key_hash)
        self._raise_if_refused(portion)
        async with portion.lock:
            # Another task may have fetched, or been refused, while this one waited.
            if self.take_now(key.key_hash):
                return
            self._raise_if_refused(portion)
            granted, wait_s = await self._fetch(key, portion)
        if granted:
            portion.tokens += granted - 1
            return
        portion.refused_until_s = self._clock() + wait_s
        raise RefusedError(ErrorKind.RATE_LIMITED, retry_after_s=wait_s)

    def _raise_if_refused(self, portion: _Portion) -> None:
        wait_s = portion.refused_until_s - self._clock()
        if wait_s > 0:
            raise RefusedError(ErrorKind.RATE_LIMITED, retry_after_s=wait_s)

    async def _fetch(self, key: ProjectKey, portion: _Portion) -> tuple[int, float]:
        portion.tokens = 0.0
        if self._buckets is not None and self._clock() >= self._shared_paused_until_s:
            wanted = max(1, min(int(key.rate_limit_per_s * PORTION_S), key.burst // 10))
            try:
                answer = await self._buckets.take(
                    key.key_hash,
                    rate_per_s=key.rate_limit_per_s,
                    burst=key.burst,
                    needed=1,
                    wanted=wanted,
                )
            except RetryableError as error:
                self._shared_paused_until_s = self._clock() + SHARED_PAUSE_S
                self._set_local(True, str(error))
            else:
                self._set_local(False, "")
                portion.fetched_at_s = self._clock()
                portion.local_tokens = None
                return answer
        return self._take_local(key, portion)

    def _take_local(self, key: ProjectKey, portion: _Portion) -> tuple[int, float]:
        now_s = self._clock()
        if portion.local_tokens is None:
            portion.local_tokens = float(key.burst)
        else:
            earned = (now_s - portion.local_at_s) * key.rate_limit_per_s
            portion.local_tokens = min(float(key.burst), portion.local_tokens + earned)
        portion.local_at_s = now_s
        if portion.local_tokens < 1:
            return 0, (1 - portion.local_tokens) / key.rate_limit_per_s
        portion.local_tokens -= 1
        return 1, 0.0

    def _set_local(self, is_local: bool, reason: str) -> None:
        if is_local == self._is_local:
            return
        self._is_local = is_local
        self._on_fallback(is_local)
        if is_local:
            get_logger().warning("rate_limit_local", reason=reason)
        else:
            get_logger().info("rate_limit_shared_again")

    def _portion(self, key_hash: str) -> _Portion:
        portion = self._portions.get(key_hash)
        if portion is None:
            portion = self._portions[key_hash] = _Portion()
            if len(self._portions) > KEYS_MAX:
                self._portions.popitem(last=False)
        else:
            self._portions.move_to_end(key_hash)
        return portion
