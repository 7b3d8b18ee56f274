"""GET overview: a project's period on one page, compared with the one before. Source: api.md, 6."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from api.answers import data_answer, time_text
from api.parameters import OverviewParameters
from api.period import Period
from api.project_queries import bounds
from api.reads.asking import AskedPeriod, ask_period
from api.reads.cached import find_cached, told
from api.reads.days import filled
from api.services import Row

UNKNOWN = "unknown"
# Lag is judged on what came lately, not on what was loaded an hour ago.
FRESHNESS_WINDOW_MS = 15 * 60_000
DEVICE_TYPES = ("desktop", "mobile", "tablet")
_COUNTED = ("events", "sessions", "users", "visitors", "page_views")
# Of a period without any.
_NO_VISITS: Row = dict.fromkeys(("sessions", "visitors", "page_views", "events"), 0)
_NOBODY: Row = {"users": 0}
_NONE_CLOSED: Row = {"closed_sessions": 0, "bounced_sessions": 0, "duration_ms": 0}


async def overview(request: web.Request) -> web.Response:
    """Counts with their change, days, top lists, what went wrong, and how fresh all of it is."""
    asked = ask_period(request, OverviewParameters)
    now_ms = asked.services.now_ms()
    found, lag = await asyncio.gather(
        find_cached(request, asked, _figures_of),
        _lag(asked, now_ms),
    )
    figures = msgspec.json.decode(found.body)
    answer = data_answer({**figures, "freshness": _freshness(lag[0], now_ms)})
    return told(answer, found, asked)


async def _lag(asked: AskedPeriod[OverviewParameters], now_ms: int) -> Sequence[Row]:
    async def rows() -> Sequence[Row]:
        since_ms = now_ms - FRESHNESS_WINDOW_MS
        return await asked.queries.rows("freshness", {"since_ms": since_ms})

    cache = asked.services.reads.answers if asked.services.reads else None
    if cache is None:
        return await rows()
    shared: Sequence[Row] = await cache.share(asked.caller.project_id, "freshness", rows)
    return shared


async def _figures_of(asked: AskedPeriod[OverviewParameters]) -> Any:
    """All of it but the freshness, which is of now."""
    period = asked.period
    span = bounds(period)
    both = {**span, "before_ms": period.before().start_ms}
    top = {**span, "limit": asked.parameters.top}
    queries: dict[str, tuple[str, Mapping[str, Any]]] = {
        "visits": ("overview_visits", {**both, "timezone": period.timezone}),
        "people": ("overview_people", both),
        "closed": ("overview_closed", both),
        "pages": ("top_pages", top),
        "referrers": ("top_referrers", top),
        "hours": ("hourly_table", span),
        "wrong": ("overview_insights", span),
    }
    answers = await asked.queries.rows_of_all(list(queries.values()))
    rows = dict(zip(queries, answers, strict=True))
    visits, limit = rows["visits"], asked.parameters.top
    days = [row for row in _of_kind(visits, "day") if row["is_now"]]
    return {
        "period": period_document(period),
        "summary": _summary(_figures(rows, is_now=1), _figures(rows, is_now=0)),
        "charts": {
            "sessions_over_time": _days(period, days, "sessions"),
            "pageviews_over_time": _days(period, days, "page_views"),
            "top_pages": [_page(row) for row in rows["pages"]],
            "top_referrers": _named(rows["referrers"], "source", ("sessions",)),
            "top_browsers": [_browser(row) for row in _of_kind(visits, "browser")[:limit]],
            "devices": device_shares(_of_kind(visits, "device_type")),
            "countries": [_country(row) for row in _of_kind(visits, "country")[:limit]],
            "hourly": [
                {"hour": time_text(row["hour_ms"]), **{name: row[name] for name in _COUNTED}}
                for row in rows["hours"]
            ],
        },
        "insights": dict(rows["wrong"][0]),
    }


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


def _figures(rows: Mapping[str, Sequence[Row]], *, is_now: int) -> dict[str, float | None]:
    """The figures of one of the two periods."""
    counts = _row_of(_of_kind(rows["visits"], "total"), is_now, _NO_VISITS)
    closed = _row_of(rows["closed"], is_now, _NONE_CLOSED)
    ended = closed["closed_sessions"]
    return {
        "sessions": counts["sessions"],
        "users": _row_of(rows["people"], is_now, _NOBODY)["users"],
        "visitors": counts["visitors"],
        "pageviews": counts["page_views"],
        "events": counts["events"],
        "avg_session_duration": round(closed["duration_ms"] / ended / 1000, 1) if ended else None,
        "bounce_rate": round(100 * closed["bounced_sessions"] / ended, 1) if ended else None,
    }


def _row_of(rows: Sequence[Row], is_now: int, nothing: Row) -> Row:
    """The row of one of the two periods; `nothing` if it has none."""
    return next((row for row in rows if row["is_now"] == is_now), nothing)


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
