"""In-memory twin of `connectors.project_documents`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.project_documents import Document


class MemoryDocuments:
    """Twin of `ProjectDocuments`: the test says what is set."""

    def __init__(self) -> None:
        self._known: dict[str, Document] = {}
        self._version = 0

    def put(self, project_id: str, content: Mapping[str, Any], **beside: Any) -> None:
        """Set a project's document, and what stands beside it."""
        self._version += 1
        self._known[project_id] = Document(self._version, content, beside)

    def get(self, project_id: str) -> Document | None:
        """See `Documents.get`."""
        return self._known.get(project_id)
