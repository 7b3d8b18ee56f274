"""Goals and funnels of projects in PostgreSQL.

In: what a request says, already checked. Out: rows. A row is found and changed by its project's id
only; a project has so many and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb

from connectors.database import Database, DatabaseRow

GOALS_MAX = 100  # Of one project.
FUNNELS_MAX = 100
_TIMES = ("created_at", "updated_at")
_GOAL = (
    "name", "display_name", "track_method", "match_pattern", "monetary_value", "is_active",
)  # fmt: skip
_FUNNEL = ("name", "steps", "time_window_hours")


class NameTakenError(Exception):
    """The project has one of this name."""


class TooManyError(Exception):
    """The project has as many as it may; the text says how many."""


class ProjectTable:
    """One of the two tables: rows of a project, with these columns to write."""

    def __init__(self, database: Database, table: str, columns: Sequence[str], most: int) -> None:
        self._database = database
        self._table = table
        self._shown = ", ".join(("id::text", *columns, *_TIMES))
        self._most = most

    async def rows(self, project_id: str) -> Sequence[DatabaseRow]:
        """All of the project, by name."""
        return await self._database.rows(
            f"SELECT {self._shown} FROM {self._table} WHERE project_id = %(project)s "
            "ORDER BY name, id",
            project=project_id,
        )

    async def row(self, project_id: str, row_id: str) -> DatabaseRow | None:
        """One of the project."""
        return await self._database.row(
            f"SELECT {self._shown} FROM {self._table} "
            f"WHERE project_id = %(project)s AND {self._table}.id = %(id)s",
            project=project_id,
            id=row_id,
        )

    async def add(self, project_id: str, values: Mapping[str, Any]) -> DatabaseRow:
        """A new one.

        Raises:
            TooManyError: the project has as many as it may.
            NameTakenError: it has one of this name.
        """
        columns = {"project_id": project_id, **_written(values)}
        names, marks = ", ".join(columns), ", ".join(f"%({name})s" for name in columns)
        try:
            async with self._database.transaction() as transaction:
                # One after the other, so that two cannot both be the last one that is allowed.
                await transaction.run(
                    "SELECT FROM projects WHERE id = %(id)s FOR NO KEY UPDATE", id=project_id
                )
                row = await transaction.row(
                    f"INSERT INTO {self._table} ({names}) SELECT {marks} WHERE (SELECT count(*) "
                    f"FROM {self._table} WHERE project_id = %(project_id)s) < %(most)s "
                    f"RETURNING {self._shown}",
                    **columns,
                    most=self._most,
                )
        except UniqueViolation:
            raise NameTakenError from None
        if row is None:
            raise TooManyError(f"a project has at most {self._most} {self._table}")
        return row

    async def change(
        self,
        project_id: str,
        row_id: str,
        values: Mapping[str, Any],
        check: Callable[[DatabaseRow], None] = lambda _row: None,
    ) -> DatabaseRow | None:
        """Change some columns of one; None if the project has none of this id.

        Nothing is changed if `check` raises: it is given the row as it will be, which nobody else
        changes meanwhile.

        Raises:
            NameTakenError: the project has one of this name.
        """
        sets = ", ".join(f"{name} = %({name})s" for name in values) or "name = name"
        of_project = "WHERE project_id = %(project)s AND id = %(row_id)s"
        where = {"project": project_id, "row_id": row_id}
        try:
            async with self._database.transaction() as transaction:
                before = await transaction.row(
                    f"SELECT {self._shown} FROM {self._table} {of_project} FOR NO KEY UPDATE",
                    **where,
                )
                if before is None:
                    return None
                check({**before, **values})
                return await transaction.row(
                    f"UPDATE {self._table} SET {sets} {of_project} RETURNING {self._shown}",
                    **_written(values),
                    **where,
                )
        except UniqueViolation:
            raise NameTakenError from None

    async def delete(self, project_id: str, row_id: str) -> bool:
        """Take one away; whether it was there."""
        deleted = await self._database.run(
            f"DELETE FROM {self._table} WHERE project_id = %(project)s AND id = %(id)s",
            project=project_id,
            id=row_id,
        )
        return deleted > 0


class GoalBook:
    """Both tables."""

    def __init__(self, database: Database) -> None:
        self.goals = ProjectTable(database, "goals", _GOAL, GOALS_MAX)
        self.funnels = ProjectTable(database, "funnels", _FUNNEL, FUNNELS_MAX)


def _written(values: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(values)
    if "steps" in found:
        found["steps"] = Jsonb(found["steps"])
    return found
