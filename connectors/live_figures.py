"""Reading the live figures that `connectors.live_counters` writes: who is there now.

In: a project and a moment. Out: how many sessions were active in the last five minutes, and how
often pages were viewed in them. Source: api.md, section 8; sessions.md, section 9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from connectors.errors import RetryableError
from connectors.live_counters import MINUTE_MS, page_views_key, sessions_key

ACTIVE_MINUTES = 5


class LiveFigures(Protocol):
    """Figures of the last `ACTIVE_MINUTES` minutes, the begun one included."""

    async def active_sessions(self, project_id: str, now_ms: int) -> int:
        """Distinct sessions with an event.

        Raises:
            RetryableError: the figures cannot be told now.
        """

    async def page_views(
        self, project_id: str, paths: Sequence[str], now_ms: int
    ) -> Mapping[str, int]:
        """Views by path, 0 for those without.

        Raises:
            RetryableError: the figures cannot be told now.
        """


class RedisLiveFigures:
    """`LiveFigures` from Redis."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def active_sessions(self, project_id: str, now_ms: int) -> int:
        """See `LiveFigures.active_sessions`."""
        keys = [sessions_key(project_id, minute_ms) for minute_ms in minutes_before(now_ms)]
        try:
            return int(await self._client.pfcount(*keys))
        except (RedisError, OSError, TimeoutError) as error:
            raise RetryableError(f"Redis is away: {type(error).__name__}") from error

    async def page_views(
        self, project_id: str, paths: Sequence[str], now_ms: int
    ) -> Mapping[str, int]:
        """See `LiveFigures.page_views`."""
        minutes = minutes_before(now_ms)
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for path in paths:
                    for minute_ms in minutes:
                        pipeline.hvals(page_views_key(project_id, path, minute_ms))
                found = await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            raise RetryableError(f"Redis is away: {type(error).__name__}") from error
        counts = [sum(map(int, values)) for values in found]
        return {
            path: sum(counts[place * len(minutes) : (place + 1) * len(minutes)])
            for place, path in enumerate(paths)
        }


class MemoryLiveFigures:
    """Twin of `RedisLiveFigures`, for tests: what is put in comes out."""

    def __init__(self) -> None:
        self.sessions: dict[str, int] = {}
        self.views: dict[tuple[str, str], int] = {}
        self.is_away = False

    async def active_sessions(self, project_id: str, now_ms: int) -> int:
        """See `LiveFigures.active_sessions`."""
        del now_ms
        if self.is_away:
            raise RetryableError("told so")
        return self.sessions.get(project_id, 0)

    async def page_views(
        self, project_id: str, paths: Sequence[str], now_ms: int
    ) -> Mapping[str, int]:
        """See `LiveFigures.page_views`."""
        del now_ms
        if self.is_away:
            raise RetryableError("told so")
        return {path: self.views.get((project_id, path), 0) for path in paths}


def minutes_before(now_ms: int) -> list[int]:
    """The starts of the minutes that count, the begun one first."""
    return [now_ms - number * MINUTE_MS for number in range(ACTIVE_MINUTES)]
