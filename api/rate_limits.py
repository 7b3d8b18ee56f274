"""How often somebody may call: token buckets in Redis, under names that tell nobody who it is.

In: a rule and who calls. Out: an `Allowance`, whose figures stand in the headers of every answer.
A bucket holds the tokens of its whole period: that many calls at once, then as they refill. While
Redis is away each process counts for itself, so limits are `processes` times as high.
Source: api.md, section 1.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from connectors.errors import RetryableError
from connectors.memory import MemoryTokenBuckets
from connectors.redis import Taken, TokenBuckets
from connectors.telemetry import get_logger

SHARED_PAUSE_S = 1.0  # After a failure Redis is left alone for this long.


@dataclass(frozen=True, slots=True)
class BucketRule:
    """So many calls a period; `name` tells what is counted."""

    name: str
    tokens: int
    period_s: int = 60

    @property
    def rate_per_s(self) -> float:
        """How fast tokens come back."""
        return self.tokens / self.period_s


# Source: api.md, section 1 (auth, reads, writes) and 7 (public dashboard).
PER_ADDRESS_AUTH = BucketRule("auth", 10)
PER_ADDRESS_PUBLIC = BucketRule("public", 60)
PER_ADDRESS = BucketRule("address", 100)
PER_CALLER_READS = BucketRule("reads", 100)
PER_CALLER_WRITES = BucketRule("writes", 1_000)
PER_CALLER_SAMPLES = BucketRule("samples", 5)  # Source: alerting.md, section 8.
RULES = (
    PER_ADDRESS_AUTH,
    PER_ADDRESS_PUBLIC,
    PER_ADDRESS,
    PER_CALLER_READS,
    PER_CALLER_WRITES,
    PER_CALLER_SAMPLES,
)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a limit."""

    limit: int
    left: int
    full_in_s: float
    wait_s: float
    is_granted: bool

    def headers(self, now_ms: int) -> dict[str, str]:
        """The three headers; the reset is when all calls are there again, in Unix seconds."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.left),
            "X-RateLimit-Reset": str(math.ceil(now_ms / 1000 + self.full_in_s)),
        }


@dataclass(slots=True)
class RateLimits:
    """Buckets by rule and caller. `tokens` replaces how many calls the named rules allow."""

    buckets: TokenBuckets
    secret: bytes
    tokens: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    clock: Callable[[], float] = time.monotonic
    _local: MemoryTokenBuckets = field(init=False)
    _paused_until_s: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._local = MemoryTokenBuckets(self.clock)

    async def take(self, rule: BucketRule, subject: str) -> Allowance:
        """Count one call of `subject`, which may be an address, an account or a key."""
        rule = self._as_set(rule)
        name = self._name(rule, subject)
        taken = await self._take(name, rule)
        missing = rule.tokens - taken.left
        return Allowance(
            limit=rule.tokens,
            left=taken.left,
            full_in_s=missing / rule.rate_per_s,
            wait_s=taken.wait_s,
            is_granted=taken.is_granted,
        )

    async def wait_s(self, rule: BucketRule, subject: str) -> float:
        """Seconds until a call would be let through, without counting one."""
        rule = self._as_set(rule)
        name, rate = self._name(rule, subject), rule.rate_per_s
        if self._is_shared():
            try:
                return await self.buckets.wait_for_one(name, rate_per_s=rate, burst=rule.tokens)
            except RetryableError as error:
                self._pause(error)
        return await self._local.wait_for_one(name, rate_per_s=rate, burst=rule.tokens)

    def _as_set(self, rule: BucketRule) -> BucketRule:
        tokens = self.tokens.get(rule.name, rule.tokens)
        return rule if tokens == rule.tokens else BucketRule(rule.name, tokens, rule.period_s)

    def _name(self, rule: BucketRule, subject: str) -> str:
        digest = hmac.digest(self.secret, subject.encode("utf-8", "replace"), hashlib.sha256)
        return f"api:{rule.name}:{digest.hex()[:32]}"

    async def _take(self, name: str, rule: BucketRule) -> Taken:
        if self._is_shared():
            try:
                return await self.buckets.take_one(
                    name, rate_per_s=rule.rate_per_s, burst=rule.tokens
                )
            except RetryableError as error:
                self._pause(error)
        return await self._local.take_one(name, rate_per_s=rule.rate_per_s, burst=rule.tokens)

    def _is_shared(self) -> bool:
        return self.clock() >= self._paused_until_s

    def _pause(self, error: RetryableError) -> None:
        self._paused_until_s = self.clock() + SHARED_PAUSE_S
        get_logger().warning("rate_limit_local", reason=str(error))
