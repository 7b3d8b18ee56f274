"""The settings document of one project, read from PostgreSQL when somebody asks.

In: a project's id. Out: its document, or None if there is no such project.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from psycopg import Error
from psycopg_pool import PoolTimeout, TooManyRequests

from connectors.errors import RetryableError
from connectors.postgres import Pool

_SETTINGS = "SELECT settings FROM projects WHERE id = %s"


class ProjectSettingsReader(Protocol):
    """Finds settings by project."""

    async def settings(self, project_id: str) -> Mapping[str, Any] | None:
        """The document as it is now.

        Raises:
            RetryableError: the store is away.
        """


class PostgresProjectSettings:
    """`ProjectSettingsReader` on the table `projects`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def settings(self, project_id: str) -> Mapping[str, Any] | None:
        """See `ProjectSettingsReader.settings`."""
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(_SETTINGS, (project_id,))
                row = await cursor.fetchone()
        except (Error, PoolTimeout, TooManyRequests, OSError) as error:
            raise RetryableError(f"PostgreSQL is away: {type(error).__name__}") from error
        return None if row is None else row[0]


class MemoryProjectSettings:
    """Twin of `PostgresProjectSettings`, for tests."""

    def __init__(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        self._documents = documents

    async def settings(self, project_id: str) -> Mapping[str, Any] | None:
        """See `ProjectSettingsReader.settings`."""
        return self._documents.get(project_id)
