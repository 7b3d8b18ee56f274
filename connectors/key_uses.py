"""How often each key was used, and when last: counted in the process, now and then written.

In: a hash of a key for each request. Out: `request_count` and `last_used_at` of its row. A request
costs one addition in memory; PostgreSQL gets one statement every `WRITE_EVERY_S` for all keys. What
it does not take is tried again with what came since. A process that is killed forgets what it had
not written: the figures are for people, nothing is decided by them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from connectors.database import Database
from connectors.errors import RetryableError
from connectors.telemetry import get_logger

WRITE_EVERY_S = 10.0
# While PostgreSQL is away only so many keys are remembered; those that come later are not counted.
KEYS_MAX = 10_000
# Rows are locked in one order, so that two processes never wait for each other.
_ADD = """
WITH uses AS (
    SELECT key_hash, requests, to_timestamp(used_at_s) AS used_at
    FROM unnest(%(hashes)s::text[], %(counts)s::bigint[], %(times)s::double precision[])
        AS used (key_hash, requests, used_at_s)
), locked AS (
    SELECT k.id, uses.requests, uses.used_at FROM api_keys k JOIN uses USING (key_hash)
    ORDER BY k.id FOR NO KEY UPDATE OF k
)
UPDATE api_keys k SET request_count = k.request_count + locked.requests,
    last_used_at = greatest(k.last_used_at, locked.used_at)
FROM locked WHERE k.id = locked.id
"""


class KeyUses:
    """Counts of one process; `start` once, `close` in the end."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._uses: dict[str, tuple[int, float]] = {}  # Requests and the last one's Unix second.
        self._task: asyncio.Task[None] | None = None

    def count(self, key_hash: str) -> None:
        """One more request with this key."""
        known = self._uses.get(key_hash)
        if known is not None:
            self._uses[key_hash] = (known[0] + 1, self._clock())
        elif len(self._uses) < KEYS_MAX:
            self._uses[key_hash] = (1, self._clock())

    def start(self) -> None:
        """Write every `WRITE_EVERY_S` from now on."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Write what is left, if PostgreSQL answers."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(RetryableError):
            await self.write()

    async def write(self) -> None:
        """Add what was counted since the last time.

        Raises:
            RetryableError: PostgreSQL is away; nothing is forgotten.
        """
        uses, self._uses = self._uses, {}
        if not uses:
            return
        try:
            await self._database.run(
                _ADD,
                hashes=list(uses),
                counts=[requests for requests, _ in uses.values()],
                times=[used_at_s for _, used_at_s in uses.values()],
            )
        except BaseException:
            for key_hash, (requests, used_at_s) in uses.items():
                since, last_s = self._uses.get(key_hash, (0, used_at_s))
                self._uses[key_hash] = (since + requests, last_s)
            raise

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            try:
                await self.write()
            except RetryableError as error:
                get_logger().warning("key_uses_not_written", reason=str(error))
