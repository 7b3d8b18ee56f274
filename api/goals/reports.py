"""How many reach a goal, and where they leave a funnel. Source: revenue.md, sections 5 and 6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from api.answers import data_answer
from api.goals.handlers import goals_of, row_of_path
from api.goals.models import FunnelParameters
from api.parameters import PeriodParameters
from api.period import Period
from api.project_queries import bounds
from api.reads.asking import ask_period, optional
from api.reads.days import days_of_period
from api.services import Row
from connectors.database import DatabaseRow

HOUR_MS = 3_600_000
GROUPS_MAX = 50
SOURCES_MAX = 100
# Days and sources of one period.
_ROWS_MAX = 10_000
# How a goal of the project is found in events, by how it is tracked.
_KINDS = {"page_url": "page", "javascript": "goal", "data_attribute": "attribute"}


async def conversions(request: web.Request) -> web.Response:
    """Completions of a goal in a period; one that is switched off has none."""
    asked = ask_period(request, PeriodParameters)
    goal = await row_of_path(request, goals_of(request).goals, "goal")
    kind, text = _matcher(goal)
    completed, everybody = await asked.queries.rows_of_all(
        [
            (
                "goal_conversions",
                {
                    **bounds(asked.period),
                    "timezone": asked.period.timezone,
                    "kind": kind,
                    "text": text,
                    "value": goal["monetary_value"] or 0.0,
                    "limit": _ROWS_MAX,
                },
            ),
            ("overview_summary", bounds(asked.period)),
        ]
    )
    rows = completed if goal["is_active"] else []
    total = next((row for row in rows if row["by"] == "total"), None)
    sessions = 0 if total is None else total["sessions"]
    return data_answer(
        {
            "conversions": 0 if total is None else total["conversions"],
            "sessions": sessions,
            "rate": _percent(sessions, everybody[0]["sessions"]),
            "value": 0.0 if total is None else round(total["worth"], 2),
            "by_source": [
                {
                    "source": row["source"],
                    "conversions": row["conversions"],
                    "sessions": row["sessions"],
                    "value": round(row["worth"], 2),
                }
                for row in rows
                if row["by"] == "source"
            ][:SOURCES_MAX],
            "by_day": _by_day(asked.period, [row for row in rows if row["by"] == "day"]),
        }
    )


async def funnel_report(request: web.Request) -> web.Response:
    """How many people who entered in the period reached each step, and how long it took them."""
    asked = ask_period(request, FunnelParameters)
    book, project_id = goals_of(request), asked.caller.project_id
    funnel = await row_of_path(request, book.funnels, "funnel")
    known = {goal["name"]: goal for goal in await book.goals.rows(project_id) if goal["is_active"]}
    steps = [_step_matcher(step, known) for step in funnel["steps"]]
    window_ms = funnel["time_window_hours"] * HOUR_MS
    query = {
        **bounds(asked.period),
        "until_ms": asked.period.end_ms + window_ms,
        "window_ms": window_ms,
        "kinds": [kind for kind, _ in steps],
        "texts": [text for _, text in steps],
    }
    groups = [""] if asked.parameters.group is None else ["", optional(asked.parameters.group)]
    found = await asked.queries.rows_of_all(
        [("funnel_steps", {**query, "group": group}) for group in groups]
    )
    by_value: dict[str, list[Row]] = {}
    for row in found[1] if len(found) > 1 else []:
        by_value.setdefault(row["group_value"], []).append(row)
    # The rows of a group are in the order of its steps, and everybody of it is in the first.
    largest = sorted(by_value.items(), key=lambda item: (-item[1][0]["visitors"], item[0]))
    return data_answer(
        {
            "steps": _reached(found[0], len(steps)),
            "groups": [
                {"value": value or None, "steps": _reached(rows, len(steps))}
                for value, rows in largest[:GROUPS_MAX]
            ],
        }
    )


def _matcher(goal: DatabaseRow) -> tuple[str, str]:
    """How the query knows a completion: a kind and a text."""
    kind = _KINDS[goal["track_method"]]
    return kind, goal["match_pattern"] if kind == "page" else goal["name"]


def _step_matcher(step: Mapping[str, str], known: Mapping[str, DatabaseRow]) -> tuple[str, str]:
    """The same of a step; a goal that the project has not defined is an event of that name."""
    if step["type"] == "page":
        return "page", step["pattern"]
    goal = known.get(step["name"])
    return ("goal", step["name"]) if goal is None else _matcher(goal)


def _reached(rows: Sequence[Row], steps: int) -> list[dict[str, Any]]:
    by_step = {row["step"]: row for row in rows}
    counts = [by_step[step]["visitors"] if step in by_step else 0 for step in range(1, steps + 1)]
    return [
        {
            "step": place + 1,
            "visitors": count,
            "from_previous": _percent(count, counts[max(place - 1, 0)]),
            "from_first": _percent(count, counts[0]),
            "median_time_s": round(by_step[place + 1]["median_seconds"], 3)
            if place and count
            else None,
        }
        for place, count in enumerate(counts)
    ]


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None


def _by_day(period: Period, rows: Sequence[Row]) -> list[dict[str, Any]]:
    of_day = {row["day"]: row for row in rows}
    return [
        {
            "date": day.isoformat(),
            "conversions": of_day[day]["conversions"] if day in of_day else 0,
            "sessions": of_day[day]["sessions"] if day in of_day else 0,
        }
        for day in days_of_period(period)
    ]
