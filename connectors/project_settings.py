"""The settings document of one project, read from PostgreSQL when somebody asks.

In: a project's id. Out: its document, or None if there is no such project.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from connectors.database import Database

_SETTINGS = "SELECT settings FROM projects WHERE id = %(project)s"


class ProjectSettingsReader(Protocol):
    """Finds settings by project."""

    async def settings(self, project_id: str) -> Mapping[str, Any] | None:
        """The document as it is now.

        Raises:
            RetryableError: the store is away.
        """


class PostgresProjectSettings:
    """`ProjectSettingsReader` on the table `projects`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def settings(self, project_id: str) -> Mapping[str, Any] | None:
        """See `ProjectSettingsReader.settings`."""
        row = await self._database.row(_SETTINGS, project=project_id)
        return None if row is None else row["settings"]


class MemoryProjectSettings:
    """Twin of `PostgresProjectSettings`, for tests."""

    def __init__(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        self._documents = documents

    async def settings(self, project_id: str) -> Mapping[str, Any] | None:
        """See `ProjectSettingsReader.settings`."""
        return self._documents.get(project_id)
