"""Rows of the list of sessions: each session once, where it begins as last revised.

The list is kept in the order of starts, where a session that a late event made begin earlier is
still found at its former start, too. So each page is asked for which of its rows hold; a page that
lost some is filled up from behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.project_queries import ProjectQueries
from api.services import Row


async def session_rows(
    queries: ProjectQueries, chosen: Mapping[str, Any], after: Mapping[str, Any], limit: int
) -> Sequence[Row]:
    """The next rows, `limit` of them unless the list ends.

    `chosen` are the filters and the order of `sessions_list`; `after` is where to begin: see
    `after_row` and `AT_FIRST`.
    """
    rows: list[Row] = []
    while True:
        found = await queries.rows("sessions_list", {**chosen, **after, "limit": limit})
        rows += await _that_hold(queries, found)
        if len(found) < limit or len(rows) >= limit:
            return rows[:limit]
        after = after_row(found[-1]["place"], found[-1]["id"])


def after_row(place: int, row_id: str) -> dict[str, Any]:
    """Where the list goes on behind a row."""
    return {"cursor_place": place, "cursor_id": row_id}


AT_FIRST = after_row(0, "")


async def _that_hold(queries: ProjectQueries, found: Sequence[Row]) -> Sequence[Row]:
    if not found:
        return found
    starts = [row["started_at_ms"] for row in found]
    now = await queries.rows(
        "session_starts_now",
        {
            "session_ids": [row["id"] for row in found],
            "from_ms": min(starts),
            "until_ms": max(starts),
        },
    )
    begun_ms = {row["id"]: row["started_at_ms"] for row in now}
    return [row for row in found if row["started_at_ms"] == begun_ms.get(row["id"])]
