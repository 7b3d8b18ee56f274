"""What people decided about errors, in PostgreSQL.

In: a project and the fingerprint of an error. Out: its status, with the moment it was set; an error
without a row is open. Source: api.md, section 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from connectors.database import Database

# Decided errors of one project: the last ones count, so that a list stays quick.
DECIDED_MAX = 10_000

_DECIDED = """
SELECT id, status, updated_at FROM error_groups
WHERE project_id = %(project)s ORDER BY updated_at DESC, id LIMIT %(limit)s
"""
_DECIDE = """
INSERT INTO error_groups (project_id, id, status, updated_by, updated_at)
VALUES (%(project)s, %(id)s, %(status)s, %(account)s, %(at)s)
ON CONFLICT (project_id, id) DO UPDATE SET
    status = excluded.status, updated_by = excluded.updated_by, updated_at = excluded.updated_at
"""


@dataclass(frozen=True, slots=True)
class Decision:
    """`status` is open, resolved or ignored; it was set at `at_ms`."""

    status: str
    at_ms: int


class ErrorGroups(Protocol):
    """Decisions by the fingerprint of an error."""

    async def decided(self, project_id: str) -> Mapping[str, Decision]:
        """All that was decided in a project, at most DECIDED_MAX.

        Raises:
            RetryableError: the store is away.
        """

    async def decide(
        self, project_id: str, error_id: str, decision: Decision, account_id: str | None
    ) -> None:
        """Set the status; `account_id` is who did it, None for a key.

        Raises:
            RetryableError: the store is away.
        """


class PostgresErrorGroups:
    """`ErrorGroups` in the table of that name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def decided(self, project_id: str) -> Mapping[str, Decision]:
        """See `ErrorGroups.decided`."""
        rows = await self._database.rows(_DECIDED, project=project_id, limit=DECIDED_MAX)
        return {
            row["id"]: Decision(row["status"], round(row["updated_at"].timestamp() * 1000))
            for row in rows
        }

    async def decide(
        self, project_id: str, error_id: str, decision: Decision, account_id: str | None
    ) -> None:
        """See `ErrorGroups.decide`."""
        await self._database.run(
            _DECIDE,
            project=project_id,
            id=error_id,
            status=decision.status,
            account=account_id,
            at=datetime.fromtimestamp(decision.at_ms / 1000, UTC),
        )


class MemoryErrorGroups:
    """Twin of `PostgresErrorGroups`, for tests."""

    def __init__(self) -> None:
        self._decided: dict[str, dict[str, Decision]] = {}

    async def decided(self, project_id: str) -> Mapping[str, Decision]:
        """See `ErrorGroups.decided`."""
        found = self._decided.get(project_id, {})
        newest = sorted(found.items(), key=lambda item: (-item[1].at_ms, item[0]))
        return dict(newest[:DECIDED_MAX])

    async def decide(
        self, project_id: str, error_id: str, decision: Decision, account_id: str | None
    ) -> None:
        """See `ErrorGroups.decide`."""
        del account_id  # Nobody asks.
        self._decided.setdefault(project_id, {})[error_id] = decision
