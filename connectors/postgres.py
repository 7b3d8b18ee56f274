"""PostgreSQL: where keys and projects' settings are kept for good.

In: the hash of a key. Out: one row, read in one query, or a RetryableError within a second, be the
server stopped, frozen or cut off. While it is away every call is refused at once, and one probe a
second finds out when it is back: no request waits for it again. The pool connects in the
background, so that a process starts while the database is away and works when it comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable
from typing import Any

from psycopg import AsyncConnection, Error
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from connectors.errors import RetryableError
from connectors.telemetry import get_logger
from schemas.project_settings import SettingsError, parse_settings
from schemas.records import ProjectKey, ProjectSettings

DEADLINE_S = 1.0  # Of one load, the wait for a connection included.
PROBE_PAUSE_S = 1.0
POOL_SIZE_MAX = 4
WAITING_MAX = 256  # Callers beyond are refused at once: unknown keys must not pile up.

_LOAD_KEY = """
SELECT k.key_hash, k.project_id::text, k.permissions, k.rate_limit, k.burst,
       k.is_active AND k.revoked_at IS NULL,
       (extract(epoch FROM k.expires_at) * 1000)::bigint,
       p.allowed_domains, p.settings
FROM api_keys k JOIN projects p ON p.id = k.project_id
WHERE k.key_hash = %s
"""

Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]


async def connect_postgres(url: str, size_max: int = POOL_SIZE_MAX) -> Pool:
    """An open pool; it does not wait for the first connection."""
    # It writes a line for each attempt while the database is away; callers tell that already.
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    pool: Pool = AsyncConnectionPool(
        url,
        min_size=1,
        max_size=size_max,
        timeout=DEADLINE_S,
        max_waiting=WAITING_MAX,
        reconnect_timeout=2.0,
        open=False,
        kwargs={
            "autocommit": True,
            "connect_timeout": 2,
            # A server that is frozen still acknowledges packets: `PostgresKeySource` has a
            # deadline of its own. These are for a network that swallows them.
            "tcp_user_timeout": 3_000,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "options": f"-c statement_timeout={int(DEADLINE_S * 1000)}",
        },
    )
    await pool.open(wait=False)
    return pool


class PostgresKeySource:
    """A `KeySource` on the tables `api_keys` and `projects`."""

    def __init__(self, pool: Pool, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock = clock
        self._away: RetryableError | None = None
        self._probe_at_s = 0.0
        self._probe: asyncio.Task[None] | None = None
        self._asks: set[asyncio.Task[TupleRow | None]] = set()

    async def load(self, key_hash: str) -> ProjectKey | None:
        """See `KeySource.load`."""
        if self._away is not None:
            self._probe_now_and_then()
            raise RetryableError(str(self._away))
        row = await self._ask(key_hash)
        return None if row is None else self._key_from_row(row)

    async def close(self) -> None:
        """End what still waits for the server; before the pool is closed, which would fail it."""
        left: set[asyncio.Task[Any]] = set(self._asks)
        if self._probe is not None:
            self._probe.cancel()
            left.add(self._probe)
        if left:
            await asyncio.wait(left, timeout=2 * DEADLINE_S)

    def _probe_now_and_then(self) -> None:
        """Ask whether the server is back, once a second, at nobody's expense."""
        if self._clock() >= self._probe_at_s and (self._probe is None or self._probe.done()):
            self._probe_at_s = self._clock() + PROBE_PAUSE_S
            self._probe = asyncio.create_task(self._ask_in_vain())

    async def _ask_in_vain(self) -> None:
        with contextlib.suppress(RetryableError):
            await self._ask("0" * 64)

    async def _ask(self, key_hash: str) -> TupleRow | None:
        try:
            row = await self._ask_within_deadline(key_hash)
        except (Error, PoolTimeout, TooManyRequests, OSError, TimeoutError) as error:
            if not isinstance(error, TooManyRequests):  # That one says nothing of the server.
                self._away = RetryableError(f"PostgreSQL is away: {type(error).__name__}")
            raise RetryableError(f"PostgreSQL is away: {type(error).__name__}") from error
        self._away = None
        return row

    async def _ask_within_deadline(self, key_hash: str) -> TupleRow | None:
        """The row. A cancelled query would wait for a frozen server, so its socket is cut."""
        used: list[AsyncConnection[TupleRow]] = []

        async def ask() -> TupleRow | None:
            async with self._pool.connection(timeout=DEADLINE_S) as connection:
                used.append(connection)
                cursor = await connection.execute(_LOAD_KEY, (key_hash,))
                return await cursor.fetchone()

        task = asyncio.create_task(ask())
        self._asks.add(task)
        task.add_done_callback(self._asks.discard)
        try:
            await asyncio.wait({task}, timeout=DEADLINE_S)
        finally:
            if not task.done():
                task.add_done_callback(_see_result)
                if used:
                    cut_connection(used[0])
                else:
                    task.cancel()
        if not task.done():
            raise TimeoutError
        return task.result()

    def _key_from_row(self, row: tuple[Any, ...]) -> ProjectKey:
        key_hash, project_id, permissions, rate, burst, is_active, expires_at_ms = row[:7]
        domains, settings = row[7:]
        return ProjectKey(
            key_hash=key_hash,
            project_id=project_id,
            permissions=frozenset(permissions or ()),
            rate_limit_per_s=rate,
            burst=burst,
            is_active=bool(is_active),
            expires_at_ms=expires_at_ms,
            allowed_domains=tuple(domains or ()),
            settings=self._settings(project_id, settings or {}),
        )

    @staticmethod
    def _settings(project_id: str, document: dict[str, Any]) -> ProjectSettings:
        try:
            return parse_settings(document)
        except SettingsError as error:
            # Defaults could store what this project has switched off: better to take nothing.
            get_logger().error("settings_unreadable", project_id=project_id, reason=str(error))
            raise RetryableError("the project's settings cannot be read") from error


def cut_connection(connection: AsyncConnection[TupleRow]) -> None:
    """Shut the socket down: whoever waits for the server sees an error at once."""
    with contextlib.suppress(Error, OSError):
        shared = socket.socket(fileno=os.dup(connection.fileno()))
        with shared:
            shared.shutdown(socket.SHUT_RDWR)


def _see_result(task: asyncio.Task[TupleRow | None]) -> None:
    """An abandoned query's error is no news."""
    if not task.cancelled():
        task.exception()
