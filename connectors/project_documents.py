"""One section of the projects' settings, kept at hand and never older than some seconds.

In: PostgreSQL's table `projects`. Out: the section's document of a project, and values that stand
beside it, at once and without asking anybody. A thread of its own reads what has changed; while
PostgreSQL is away the last known documents stay. Only projects that have any of it take memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import psycopg
from prometheus_client import Counter

from connectors.postgres_changes import EPOCH, PostgresChanges

# Of projects with a document; the ones changed last are kept.
DOCUMENTS_MAX = 50_000

READS = Counter(
    "gosight_settings_reads_total", "Attempts to read changed settings, by outcome.", ["outcome"]
)

_CHANGED = """
SELECT
    id::text,
    settings -> %(section)s,
    (SELECT jsonb_object_agg(key, value) FROM jsonb_each(settings) WHERE key = ANY(%(beside)s)),
    updated_at
FROM projects
WHERE updated_at > %(since)s
    AND (%(is_known)s OR settings ? %(section)s OR settings ?| %(beside)s)
ORDER BY updated_at DESC LIMIT %(limit)s
"""


class Document(NamedTuple):
    """A project's document; `version` grows with each change of it.

    `beside` holds values that stand beside the section, by their names, if any were asked for.
    """

    version: int
    content: Mapping[str, Any]
    beside: Mapping[str, Any] = MappingProxyType({})


class Documents(Protocol):
    """Documents of projects by their ids."""

    def get(self, project_id: str) -> Document | None:
        """The document as last read; None if the project has none."""


class ProjectDocuments(PostgresChanges):
    """`Documents` from PostgreSQL; `start` once. `beside` are names of values."""

    def __init__(self, database_url: str, section: str, beside: Sequence[str] = ()) -> None:
        super().__init__(database_url, "settings", "settings", READS, "settings_not_read")
        self._section = section
        self._beside = list(beside)
        self._known: dict[str, Document] = {}
        self._version = 0

    def get(self, project_id: str) -> Document | None:
        """See `Documents.get`."""
        return self._known.get(project_id)

    def _read_changes(self, connection: psycopg.Connection[Any], since: datetime) -> None:
        rows = connection.execute(
            _CHANGED,
            {
                "section": self._section,
                "beside": self._beside,
                "since": since,
                "is_known": self._since > EPOCH,
                "limit": DOCUMENTS_MAX,
            },
        ).fetchall()
        for project_id, content, beside, _changed_at in reversed(rows):
            self._keep(project_id, content if isinstance(content, dict) else {}, beside or {})
        if rows:
            self._since = max(self._since, rows[0][3])

    def _keep(self, project_id: str, content: dict[str, Any], beside: dict[str, Any]) -> None:
        known = self._known.get(project_id)
        if not content and not beside:
            self._known.pop(project_id, None)
        elif known is None or known[1:] != (content, beside):
            self._version += 1
            if known is None and len(self._known) >= DOCUMENTS_MAX:
                self._known.pop(next(iter(self._known)))
            self._known[project_id] = Document(self._version, content, beside)
