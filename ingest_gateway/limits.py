"""How many requests may come: token buckets in Redis with a small local store of tokens.

In: a key, a project or an address. Out: nothing, or a refusal with the real wait.

Tokens are fetched from Redis in portions of a tenth of a second's worth (at least one, at most a
tenth of the burst), so that most requests need no round trip. Portions are taken from the one
shared bucket, so all processes together never let more through than burst + rate x time, plus at
most one portion per process whose tokens were fetched up to `PORTION_LIFE_S` earlier; a portion
unused for that long is given up.

While Redis is away each process has a whole bucket of its own, and says so in the log and in a
metric: ingestion goes on, the limit of a key is then `processes` times as high.

Keys bring their own limits. Limits of all requests of a project and of an address are settings of
the whole gateway, and off unless set (`SharedRates`).
Source: events.md, section 7 (Key check); deployment.md, section 5.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from connectors.errors import RetryableError
from connectors.redis import TokenBuckets
from connectors.telemetry import get_logger
from ingest_gateway.errors import ErrorKind, RefusedError
from schemas.client_address import network_of
from schemas.records import ProjectKey

PORTION_S = 0.1
PORTION_LIFE_S = 1.0
KEYS_MAX = 10_000
SHARED_PAUSE_S = 1.0  # After a failure Redis is left alone for this long.


class Bucket(NamedTuple):
    """A bucket's name and size."""

    name: str
    rate_per_s: float
    burst: int


@dataclass(slots=True)
class _Portion:
    """Tokens of one bucket that this process may spend."""

    tokens: float = 0.0
    fetched_at_s: float = 0.0
    refused_until_s: float = 0.0
    # The process's own bucket, used while Redis is away; None until then.
    local_tokens: float | None = None
    local_at_s: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class RateGuard:
    """Lets requests through by bucket. `on_fallback(is_local)` is told when the mode changes."""

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

    def take_now(self, name: str) -> bool:
        """Take one token if this process holds one; False says nothing about the limit."""
        portion = self._portions.get(name)
        if portion is None or portion.tokens < 1:
            return False
        if self._clock() - portion.fetched_at_s > PORTION_LIFE_S:
            return False
        portion.tokens -= 1
        return True

    async def take(self, key: ProjectKey) -> None:
        """Take one token of a key's own bucket, waiting for Redis if this process holds none.

        Raises:
            RefusedError: RATE_LIMITED with the seconds until a token is there.
        """
        await self.take_from(Bucket(key.key_hash, key.rate_limit_per_s, key.burst))

    async def take_from(self, bucket: Bucket) -> None:
        """As `take`, of any bucket."""
        if self.take_now(bucket.name):
            return
        portion = self._portion(bucket.name)
        self._raise_if_refused(portion)
        async with portion.lock:
            # Another task may have fetched, or been refused, while this one waited.
            if self.take_now(bucket.name):
                return
            self._raise_if_refused(portion)
            granted, wait_s = await self._fetch(bucket, portion)
        if granted:
            portion.tokens += granted - 1
            return
        portion.refused_until_s = self._clock() + wait_s
        raise RefusedError(ErrorKind.RATE_LIMITED, retry_after_s=wait_s)

    def _raise_if_refused(self, portion: _Portion) -> None:
        wait_s = portion.refused_until_s - self._clock()
        if wait_s > 0:
            raise RefusedError(ErrorKind.RATE_LIMITED, retry_after_s=wait_s)

    async def _fetch(self, bucket: Bucket, portion: _Portion) -> tuple[int, float]:
        portion.tokens = 0.0
        if self._buckets is not None and self._clock() >= self._shared_paused_until_s:
            wanted = max(1, min(int(bucket.rate_per_s * PORTION_S), bucket.burst // 10))
            try:
                answer = await self._buckets.take(
                    bucket.name,
                    rate_per_s=bucket.rate_per_s,
                    burst=bucket.burst,
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
        return self._take_local(bucket, portion)

    def _take_local(self, bucket: Bucket, portion: _Portion) -> tuple[int, float]:
        now_s = self._clock()
        if portion.local_tokens is None:
            portion.local_tokens = float(bucket.burst)
        else:
            earned = (now_s - portion.local_at_s) * bucket.rate_per_s
            portion.local_tokens = min(float(bucket.burst), portion.local_tokens + earned)
        portion.local_at_s = now_s
        if portion.local_tokens < 1:
            return 0, (1 - portion.local_tokens) / bucket.rate_per_s
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

    def _portion(self, name: str) -> _Portion:
        portion = self._portions.get(name)
        if portion is None:
            portion = self._portions[name] = _Portion()
            if len(self._portions) > KEYS_MAX:
                self._portions.popitem(last=False)
        else:
            self._portions.move_to_end(name)
        return portion


@dataclass(frozen=True, slots=True)
class RateOptions:
    """Requests a second and at once for one project and for one address; a rate of 0 is no limit.

    `secret` hides addresses in the names of their buckets; processes share them only if they share
    it.
    """

    project_per_s: int = 0
    project_burst: int = 1
    address_per_s: int = 0
    address_burst: int = 1
    secret: bytes = b""


class SharedRates:
    """The limits of projects and addresses, beside those of keys."""

    def __init__(
        self,
        buckets: TokenBuckets | None,
        options: RateOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        # Two stores: a crowd of addresses must not push out what is known of projects.
        self._projects = RateGuard(buckets, clock=clock)
        self._addresses = RateGuard(buckets, clock=clock)

    async def take_for_address(self, address: str) -> None:
        """Take one token of an address (IPv6: of its /64); an unknown address has no limit.

        Raises:
            RefusedError: RATE_LIMITED with the seconds until a token is there.
        """
        options = self._options
        if options.address_per_s and address:
            digest = hmac.digest(options.secret, network_of(address).encode(), hashlib.sha256)
            name = f"address:{digest.hex()[:32]}"
            bucket = Bucket(name, options.address_per_s, options.address_burst)
            await self._addresses.take_from(bucket)

    async def take_for_project(self, project_id: str) -> None:
        """Take one token of a project.

        Raises:
            RefusedError: RATE_LIMITED with the seconds until a token is there.
        """
        options = self._options
        if options.project_per_s:
            name = f"project:{project_id}"
            bucket = Bucket(name, options.project_per_s, options.project_burst)
            await self._projects.take_from(bucket)
