"""Redis: the shared cache of keys, the token buckets, the request counters for display.

What is here may be lost at any moment: everything is rebuilt or does without. All calls end within
the connection's timeouts; every failure is a RetryableError.

Keys: `apikey:{sha256}` (hash, 300 s; `missing` = 1, 30 s), `rl:{sha256}`, `rl:project:{id}` and
`rl:address:{keyed hash}` (token buckets, 120 s), `rl:api:{rule}:{keyed hash}` (the API's, at
least as long as they take to fill),
`ratelimit:{project}:{minute}` (count for display, 120 s). Source: deployment.md, section 8.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Mapping
from typing import Any, NamedTuple, Protocol, cast

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from connectors.errors import RetryableError
from connectors.keys import MISSING, SHARED_MISSING_TTL_S, SHARED_TTL_S, Missing
from schemas.project_settings import parse_settings
from schemas.records import ProjectKey

TIMEOUT_S = 0.25  # A cache that takes longer than the database behind it is no help.
BUCKET_TTL_S = 120
COUNTER_TTL_S = 120

# Writes a hash unless the key exists. KEYS: entry. ARGV: seconds to live, field, value, ...
_WRITE_IF_ABSENT = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
"""
# Token bucket on the server's clock. KEYS: bucket. ARGV: tokens a second, burst, tokens needed,
# tokens wanted, seconds to live. Gives back {tokens granted, milliseconds to wait, tokens left}:
# between needed and wanted, or none and the time until `needed` are there.
_TAKE_TOKENS = """
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local needed, wanted = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at_ms')
local tokens = tonumber(bucket[1]) or burst
local at_ms = tonumber(bucket[2]) or now_ms
tokens = math.min(burst, tokens + math.max(0, now_ms - at_ms) * rate / 1000)
local granted, wait_ms = 0, 0
if tokens >= needed then
    granted = math.min(math.floor(tokens), wanted)
    tokens = tokens - granted
else
    wait_ms = math.ceil((needed - tokens) * 1000 / rate)
end
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at_ms', now_ms)
redis.call('EXPIRE', KEYS[1], ARGV[5])
return {granted, wait_ms, math.floor(tokens)}
"""


class Taken(NamedTuple):
    """What became of asking for one token; `left` are whole tokens that remain."""

    is_granted: bool
    wait_s: float
    left: int


class TokenBuckets(Protocol):
    """Token buckets shared by all processes of a kind."""

    async def take(
        self, key_hash: str, *, rate_per_s: float, burst: int, needed: int, wanted: int
    ) -> tuple[int, float]:
        """(tokens granted, seconds to wait): `needed` to `wanted` tokens, or 0 and the real wait.

        Raises:
            RetryableError: the buckets cannot be reached.
        """

    async def take_one(self, name: str, *, rate_per_s: float, burst: int) -> Taken:
        """One token, and how the bucket stands.

        Raises:
            RetryableError: the buckets cannot be reached.
        """

    async def wait_for_one(self, name: str, *, rate_per_s: float, burst: int) -> float:
        """Seconds until the bucket has a token, without taking it; 0 if it has one.

        Raises:
            RetryableError: the buckets cannot be reached.
        """


def connect_redis(url: str, timeout_s: float = TIMEOUT_S) -> Redis:
    """A client with bounded waits and without retries of its own; connects at first use."""
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        max_connections=64,
        decode_responses=True,
    )


class RedisKeyCache:
    """A `KeyCache` in Redis."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._write_if_absent = client.register_script(_WRITE_IF_ABSENT)

    async def read(self, key_hash: str) -> ProjectKey | Missing | None:
        """See `KeyCache.read`; an entry that cannot be read counts as unknown."""
        try:
            fields = await cast("Awaitable[dict[str, str]]", self._client.hgetall(_entry(key_hash)))
        except (RedisError, OSError, TimeoutError) as error:
            raise RetryableError(f"Redis is away: {type(error).__name__}") from error
        if not fields:
            return None
        return MISSING if fields.get("missing") == "1" else key_from_fields(fields)

    async def write(self, key_hash: str, key: ProjectKey | None) -> None:
        """See `KeyCache.write`."""
        if key is None:
            fields, ttl_s = {"missing": "1"}, SHARED_MISSING_TTL_S
        else:
            fields, ttl_s = fields_from_key(key), SHARED_TTL_S
        flat = [part for pair in fields.items() for part in pair]
        try:
            await self._write_if_absent(keys=[_entry(key_hash)], args=[ttl_s, *flat])
        except (RedisError, OSError, TimeoutError) as error:
            raise RetryableError(f"Redis is away: {type(error).__name__}") from error

    async def revoke(self, key_hash: str) -> None:
        """See `KeyCache.revoke`."""
        try:
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.delete(_entry(key_hash))
                pipeline.hset(_entry(key_hash), "missing", "1")
                pipeline.expire(_entry(key_hash), SHARED_MISSING_TTL_S)
                await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            raise RetryableError(f"Redis is away: {type(error).__name__}") from error

    async def forget(self, key_hash: str) -> None:
        """See `KeyCache.forget`."""
        try:
            await self._client.delete(_entry(key_hash))
        except (RedisError, OSError, TimeoutError) as error:
            raise RetryableError(f"Redis is away: {type(error).__name__}") from error


class RedisTokenBuckets:
    """`TokenBuckets` in Redis: one atomic script a call, on the server's clock."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._take_tokens = client.register_script(_TAKE_TOKENS)

    async def take(
        self, key_hash: str, *, rate_per_s: float, burst: int, needed: int, wanted: int
    ) -> tuple[int, float]:
        """See `TokenBuckets.take`."""
        granted, wait_s, _left = await self._ask(key_hash, rate_per_s, burst, needed, wanted)
        return granted, wait_s

    async def take_one(self, name: str, *, rate_per_s: float, burst: int) -> Taken:
        """See `TokenBuckets.take_one`."""
        granted, wait_s, left = await self._ask(name, rate_per_s, burst, 1, 1)
        return Taken(granted == 1, wait_s, left)

    async def wait_for_one(self, name: str, *, rate_per_s: float, burst: int) -> float:
        """See `TokenBuckets.wait_for_one`."""
        _granted, wait_s, _left = await self._ask(name, rate_per_s, burst, 1, 0)
        return wait_s

    async def _ask(
        self, name: str, rate_per_s: float, burst: int, needed: int, wanted: int
    ) -> tuple[int, float, int]:
        # A bucket that is forgotten is full again: not before it would be full anyway.
        ttl_s = max(BUCKET_TTL_S, math.ceil(burst / rate_per_s) + 1)
        try:
            granted, wait_ms, left = await self._take_tokens(
                keys=[f"rl:{name}"], args=[rate_per_s, burst, needed, wanted, ttl_s]
            )
        except (RedisError, OSError, TimeoutError) as error:
            raise RetryableError(f"Redis is away: {type(error).__name__}") from error
        return int(granted), int(wait_ms) / 1000, int(left)

    async def add_to_counters(self, counts: Mapping[tuple[str, int], int]) -> None:
        """Add request counts by (project id, epoch minute) to what the dashboard shows.

        Raises:
            RetryableError: Redis is away; the counts of this call may be lost.
        """
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for (project_id, minute), count in counts.items():
                    name = f"ratelimit:{project_id}:{minute}"
                    pipeline.incrby(name, count)
                    pipeline.expire(name, COUNTER_TTL_S)
                await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            raise RetryableError(f"Redis is away: {type(error).__name__}") from error


def fields_from_key(key: ProjectKey) -> dict[str, str]:
    """A key's row as the fields of a Redis hash; `key_from_fields` reads it back."""
    return {
        "key_hash": key.key_hash,
        "project_id": key.project_id,
        "permissions": ",".join(sorted(key.permissions)),
        "rate_limit": str(key.rate_limit_per_s),
        "burst": str(key.burst),
        "is_active": "1" if key.is_active else "0",
        "expires_at": "" if key.expires_at_ms is None else str(key.expires_at_ms),
        "allowed_domains": msgspec.json.encode(key.allowed_domains).decode(),
        "settings": msgspec.json.encode(dict(key.settings.document)).decode(),
    }


def key_from_fields(fields: Mapping[str, str]) -> ProjectKey | None:
    """A key's row from the fields of a Redis hash; None if they are not such a row."""
    try:
        document: dict[str, Any] = msgspec.json.decode(fields["settings"], type=dict)
        return ProjectKey(
            key_hash=fields["key_hash"],
            project_id=fields["project_id"],
            permissions=frozenset(filter(None, fields["permissions"].split(","))),
            rate_limit_per_s=int(fields["rate_limit"]),
            burst=int(fields["burst"]),
            is_active=fields["is_active"] == "1",
            expires_at_ms=int(fields["expires_at"]) if fields["expires_at"] else None,
            allowed_domains=tuple(msgspec.json.decode(fields["allowed_domains"], type=list[str])),
            settings=parse_settings(document),
        )
    except (KeyError, ValueError):  # msgspec's errors are ValueErrors.
        return None


def _entry(key_hash: str) -> str:
    return f"apikey:{key_hash}"
