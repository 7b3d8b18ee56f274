"""GET overview: a project's period on one page, compared with the one before. Source: api.md, 6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from api.answers import data_answer, time_text
from api.parameters import OverviewParameters
from api.period import Period
from api.project_queries import bounds
from api.reads.asking import ask_period
from api.reads.days import filled
from api.services import Row

UNKNOWN = "unknown"
# Lag is judged on what came lately, not on what was loaded an hour ago.
FRESHNESS_WINDOW_MS = 15 * 60_000
DEVICE_TYPES = ("desktop", "mobile", "tablet")
_COUNTED = ("events", "sessions", "users", "visitors", "page_views")
_NONE_CLOSED: Row = {"closed_sessions": 0, "bounced_sessions": 0, "duration_ms": 0}


async def overview(request: web.Request) -> web.Response:
    """Counts with their change, days, top lists, what went wrong, and how fresh all of it is."""
    asked = ask_period(request, OverviewParameters)
    period, now_ms = asked.period, asked.services.now_ms()
    span, before = bounds(period), bounds(period.before())
    top = {**span, "limit": asked.parameters.top}
    queries: dict[str, tuple[str, Mapping[str, Any]]] = {
        "now": ("overview_summary", span),
        "before": ("overview_summary", before),
        "people": ("overview_people", span),
        "people_before": ("overview_people", before),
        "closed": ("overview_closed", {**span, "before_ms": before["start_ms"]}),
        "days": ("overview_by_day", {**span, "timezone": period.timezone}),
        "pages": ("top_pages", top),
        "kinds": ("overview_kinds", span),
        "referrers": ("top_referrers", top),
        "hours": ("hourly_table", span),
        "wrong": ("overview_insights", span),
        "lag": ("freshness", {"since_ms": now_ms - FRESHNESS_WINDOW_MS}),
    }
    answers = await asked.queries.rows_of_all(list(queries.values()))
    rows = dict(zip(queries, answers, strict=True))
    kinds, limit = rows["kinds"], asked.parameters.top
    return data_answer(
        {
            "period": period_document(period),
            "summary": _summary(
                _figures(rows["now"][0], rows["people"][0], _closed(rows["closed"], 1)),
                _figures(rows["before"][0], rows["people_before"][0], _closed(rows["closed"], 0)),
            ),
            "charts": {
                "sessions_over_time": _days(period, rows["days"], "sessions"),
                "pageviews_over_time": _days(period, rows["days"], "page_views"),
                "top_pages": [_page(row) for row in rows["pages"]],
                "top_referrers": _named(rows["referrers"], "source", ("sessions",)),
                "top_browsers": [_browser(row) for row in _of_kind(kinds, "browser")[:limit]],
                "devices": device_shares(_of_kind(kinds, "device_type")),
                "countries": [_country(row) for row in _of_kind(kinds, "country")[:limit]],
                "hourly": [
                    {"hour": time_text(row["hour_ms"]), **{name: row[name] for name in _COUNTED}}
                    for row in rows["hours"]
                ],
            },
            "insights": dict(rows["wrong"][0]),
            "freshness": _freshness(rows["lag"][0], now_ms),
        }
    )


def period_document(period: Period) -> dict[str, str]:
    """A period as answers show it; the end is exclusive."""
    return {
        "start": time_text(period.start_ms),
        "end": time_text(period.end_ms),
        "timezone": period.timezone,
    }


def change_percent(now: float | None, before: float | None) -> float | None:
    """Percent against the equally long period before; null if that had none."""
    return None if not before or now is None else round((now - before) / before * 100, 1)


def device_shares(rows: Sequence[Row]) -> dict[str, float]:
    """Percent of the sessions whose device is known, one decimal."""
    sessions = {row["device_name"]: row["sessions"] for row in rows}
    total = sum(sessions.get(name, 0) for name in DEVICE_TYPES)
    return {
        name: round(100 * sessions.get(name, 0) / total, 1) if total else 0.0
        for name in DEVICE_TYPES
    }


def _figures(counts: Row, people: Row, closed: Row) -> dict[str, float | None]:
    ended = closed["closed_sessions"]
    return {
        "sessions": counts["sessions"],
        "users": people["users"],
        "visitors": counts["visitors"],
        "pageviews": counts["page_views"],
        "events": counts["events"],
        "avg_session_duration": round(closed["duration_ms"] / ended / 1000, 1) if ended else None,
        "bounce_rate": round(100 * closed["bounced_sessions"] / ended, 1) if ended else None,
    }


def _closed(rows: Sequence[Row], is_now: int) -> Row:
    """The figures of one of the two periods; nothing if it has none."""
    return next((row for row in rows if row["is_now"] == is_now), _NONE_CLOSED)


def _of_kind(rows: Sequence[Row], kind: str) -> Sequence[Row]:
    return [row for row in rows if row["kind"] == kind]


def _browser(row: Row) -> dict[str, Any]:
    return {
        "browser": row["browser_name"] or UNKNOWN,
        "sessions": row["sessions"],
        "visitors": row["visitors"],
    }


def _summary(
    now: Mapping[str, float | None], before: Mapping[str, float | None]
) -> dict[str, float | None]:
    summary: dict[str, float | None] = {}
    for name, value in now.items():
        summary[name] = value
        summary[f"{name}_change"] = change_percent(value, before[name])
    return summary


def _days(period: Period, rows: Sequence[Row], name: str) -> list[dict[str, Any]]:
    return filled(period, {row["day"]: row[name] for row in rows})


def _page(row: Row) -> dict[str, Any]:
    seconds = row["avg_seconds"]
    return {
        "path": row["path"],
        "views": row["page_views"],
        "sessions": row["sessions"],
        "visitors": row["visitors"],
        "avg_time": None if seconds is None else round(seconds, 1),
    }


def _named(rows: Sequence[Row], name: str, figures: Sequence[str]) -> list[dict[str, Any]]:
    """Entries of a top list; what could not be told has a name, too."""
    return [
        {name: row[name] or UNKNOWN, **{figure: row[figure] for figure in figures}} for row in rows
    ]


def _country(row: Row) -> dict[str, Any]:
    return {
        "country": row["country_name"] or UNKNOWN,
        "country_code": row["code"],
        "sessions": row["sessions"],
        "visitors": row["visitors"],
    }


def _freshness(row: Row, now_ms: int) -> dict[str, Any]:
    """Times are null when nothing was received lately; lag is receipt to stored."""
    last_ms = row["last_received_ms"]
    return {
        "last_received_at": None if last_ms is None else time_text(last_ms),
        "seconds_since_last": None if last_ms is None else round((now_ms - last_ms) / 1000, 3),
        "lag_ms_p50": row["lag_ms_p50"],
        "lag_ms_p99": row["lag_ms_p99"],
        "lag_ms_max": row["lag_ms_max"],
    }
