"""Keys that were revoked or whose project has changed, taken out of the shared cache.

In: hashes of keys, after the change is committed. Out: every process reads them anew within
seconds. While Redis is away it is tried again in the background, as long as an old entry could live
there. Source: api.md, section 5 (revoked within 10 s everywhere).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from connectors.errors import RetryableError
from connectors.keys import SHARED_TTL_S, KeyCache
from connectors.telemetry import get_logger

RETRY_PAUSE_S = 1.0
RELOAD_S = 2.0  # Longer than any load of a key on its way takes.
TASKS_MAX = 1_000


class KeyCaches:
    """The shared cache of keys, told of changes; `close` it in the end."""

    def __init__(self, cache: KeyCache) -> None:
        self._cache = cache
        self._tasks: set[asyncio.Task[None]] = set()

    async def revoke(self, hashes: Sequence[str]) -> None:
        """Make keys unknown everywhere."""
        await self._tell(self._cache.revoke, hashes)

    async def forget(self, hashes: Sequence[str]) -> None:
        """Let keys be read anew, with the project's present settings."""
        await self._tell(self._cache.forget, hashes)
        # Somebody who loaded a key just before the change may have written it back since.
        self._later(lambda: self._tell(self._cache.forget, hashes), RELOAD_S)

    async def close(self) -> None:
        """Give up what is still to be tried again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _tell(self, change: Callable[[str], Awaitable[None]], hashes: Sequence[str]) -> None:
        left = await _told(change, hashes)
        if left:
            get_logger().warning("key_cache_not_told", keys=len(left))
            self._later(lambda: self._tell_at_last(change, left), RETRY_PAUSE_S)

    async def _tell_at_last(
        self, change: Callable[[str], Awaitable[None]], hashes: Sequence[str]
    ) -> None:
        for _ in range(int(SHARED_TTL_S / RETRY_PAUSE_S)):
            hashes = await _told(change, hashes)
            if not hashes:
                return
            await asyncio.sleep(RETRY_PAUSE_S)

    def _later(self, work: Callable[[], Awaitable[None]], after_s: float) -> None:
        async def run() -> None:
            await asyncio.sleep(after_s)
            await work()

        if len(self._tasks) < TASKS_MAX:
            task = asyncio.create_task(run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _told(change: Callable[[str], Awaitable[None]], hashes: Sequence[str]) -> Sequence[str]:
    """Those that could not be told."""
    for index, key_hash in enumerate(hashes):
        try:
            await change(key_hash)
        except RetryableError:
            return hashes[index:]
    return ()
