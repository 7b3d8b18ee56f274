"""PostgreSQL: where keys and projects' settings are kept for good.

In: the hash of a key. Out: one row, read in one query. The pool connects in the background, so
that a process starts while the database is away and works when it comes back.
"""

from __future__ import annotations

import logging
from typing import Any

from psycopg import AsyncConnection, Error
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from connectors.errors import RetryableError
from connectors.telemetry import get_logger
from schemas.project_settings import SettingsError, parse_settings
from schemas.records import ProjectKey, ProjectSettings

TIMEOUT_S = 2.0
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


async def connect_postgres(url: str) -> Pool:
    """An open pool; it does not wait for the first connection."""
    # It writes a line for each attempt while the database is away; callers tell that already.
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    pool: Pool = AsyncConnectionPool(
        url,
        min_size=1,
        max_size=POOL_SIZE_MAX,
        timeout=TIMEOUT_S,
        max_waiting=WAITING_MAX,
        reconnect_timeout=5.0,
        open=False,
        kwargs={
            "autocommit": True,
            "connect_timeout": 2,
            "options": f"-c statement_timeout={int(TIMEOUT_S * 1000)}",
        },
    )
    await pool.open(wait=False)
    return pool


class PostgresKeySource:
    """A `KeySource` on the tables `api_keys` and `projects`.

    Keys whose row gives no rate or burst get the defaults.
    """

    def __init__(self, pool: Pool, *, rate_limit_per_s: int = 1000, burst: int = 5000) -> None:
        self._pool = pool
        self._rate_limit_per_s = rate_limit_per_s
        self._burst = burst

    async def load(self, key_hash: str) -> ProjectKey | None:
        """See `KeySource.load`."""
        try:
            async with self._pool.connection(timeout=TIMEOUT_S) as connection:
                cursor = await connection.execute(_LOAD_KEY, (key_hash,))
                row = await cursor.fetchone()
        except (Error, PoolTimeout, TooManyRequests, OSError) as error:
            raise RetryableError(f"PostgreSQL is away: {type(error).__name__}") from error
        return None if row is None else self._key_from_row(row)

    def _key_from_row(self, row: tuple[Any, ...]) -> ProjectKey:
        key_hash, project_id, permissions, rate, burst, is_active, expires_at_ms = row[:7]
        domains, settings = row[7:]
        return ProjectKey(
            key_hash=key_hash,
            project_id=project_id,
            permissions=frozenset(permissions or ()),
            rate_limit_per_s=rate or self._rate_limit_per_s,
            burst=burst or self._burst,
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
