"""Insights of a period: how many of each type, which, and on what elements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from api.answers import data_answer, time_text
from api.cursor import Cursor, decode_cursor
from api.project_queries import bounds
from api.reads.asking import ask_period, optional
from api.reads.insight_models import InsightsParameters
from api.services import Row

# Source: api.md, section 6; the plural of the types' names.
COUNTED = {
    "rage_click": "rage_clicks",
    "dead_click": "dead_clicks",
    "error_click": "error_clicks",
    "thrashed_cursor": "thrashed_cursors",
    "u_turn": "u_turns",
    "slow_page": "slow_pages",
}


async def insights(request: web.Request) -> web.Response:
    """The summary and hot spots of the whole period, and one page of the insights."""
    asked = ask_period(request, InsightsParameters)
    given = asked.parameters
    cursor = decode_cursor(given.cursor, "insights")
    chosen = {
        **bounds(asked.period),
        "type": optional(given.type),
        "path": optional(given.path),
    }
    counted, found, spots = await asked.queries.rows_of_all(
        [
            ("insights_summary", chosen),
            (
                "insights_list",
                {
                    **chosen,
                    "cursor_ms": cursor.place if cursor else 0,
                    "cursor_id": cursor.row_id if cursor else "",
                    "limit": given.per_page + 1,
                },
            ),
            ("hot_spots", {**chosen, "limit": given.top}),
        ]
    )
    page = found[: given.per_page]
    following = None
    if len(found) > len(page):
        following = Cursor("insights", page[-1]["timestamp_ms"], page[-1]["id"]).encode()
    by_type = {row["type"]: row["insights"] for row in counted}
    return data_answer(
        {
            "summary": counts(by_type),
            "insights": [_insight(row) for row in page],
            "hotspots": [dict(row) for row in spots],
        },
        {"per_page": given.per_page, "next_cursor": following},
    )


def counts(by_type: Mapping[str, int]) -> dict[str, Any]:
    """See `InsightCounts`: the built-in types, if only to say 0, and the others that there are."""
    return {
        **{name: by_type.get(kind, 0) for kind, name in COUNTED.items()},
        "other": {kind: found for kind, found in by_type.items() if kind not in COUNTED},
    }


def _insight(row: Row) -> dict[str, Any]:
    plain = ("id", "type", "severity", "session_id", "url", "path", "target_selector", "x", "y")
    return {
        **{name: row[name] for name in plain},
        "timestamp": time_text(row["timestamp_ms"]),
        "ended_at": time_text(row["ended_at_ms"]),
        "details": msgspec.Raw(row["details"].encode() or b"{}"),
    }
