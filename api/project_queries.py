"""Queries bound to one project.

Every read of a project's data goes through `ProjectQueries.rows`, which adds the project itself: no
handler can forget it, and none can name another one. Source: api.md, section 10.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from api.period import Period
from api.services import QueryRunner, Row


class ProjectQueries:
    """The read queries of `sql/queries` for one project."""

    def __init__(self, runner: QueryRunner, project_id: str) -> None:
        self._runner = runner
        self._project_id = project_id

    async def rows(self, query: str, parameters: Mapping[str, Any]) -> Sequence[Row]:
        """Rows of one query; `parameters` must not name the project."""
        assert "project_id" not in parameters
        return await self._runner.rows(query, {"project_id": self._project_id, **parameters})

    async def rows_of_all(
        self, queries: Sequence[tuple[str, Mapping[str, Any]]]
    ) -> Sequence[Sequence[Row]]:
        """Several queries at once; their rows in the same order."""
        return await asyncio.gather(*(self.rows(name, values) for name, values in queries))


def bounds(period: Period) -> dict[str, Any]:
    """A period as the queries take it: start inclusive, end exclusive, milliseconds UTC."""
    return {"start_ms": period.start_ms, "end_ms": period.end_ms}
