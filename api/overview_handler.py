"""GET overview: a project's period on one page. Source: api.md, section 6."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from api.answers import data_answer, time_text
from api.auth import CALLER
from api.parameters import OverviewParameters, parse_parameters
from api.period import Period, parse_period
from api.project_queries import ProjectQueries, bounds
from api.services import SERVICES, Row

UNKNOWN = "unknown"
# Lag is judged on what came lately, not on what was loaded an hour ago.
FRESHNESS_WINDOW_MS = 15 * 60_000
_COUNTED = ("sessions", "users", "visitors", "page_views", "events")


async def overview(request: web.Request) -> web.Response:
    """Counts with their change, top lists, hours, and how fresh all of it is."""
    services = request.app[SERVICES]
    parameters = parse_parameters(OverviewParameters, request.query)
    now_ms = services.now_ms()
    period = parse_period(parameters.start_date, parameters.end_date, parameters.timezone, now_ms)
    queries = ProjectQueries(services.queries, request[CALLER].project_id)
    span, top = bounds(period), {**bounds(period), "limit": parameters.top}
    (
        now,
        before,
        pages,
        browsers,
        devices,
        countries,
        referrers,
        hours,
        lag,
    ) = await queries.rows_of_all(
        [
            ("overview_summary", span),
            ("overview_summary", bounds(period.before())),
            ("top_pages", top),
            ("top_browsers", top),
            ("top_devices", top),
            ("top_countries", top),
            ("top_referrers", top),
            ("hourly_table", span),
            ("freshness", {"since_ms": now_ms - FRESHNESS_WINDOW_MS}),
        ]
    )
    return data_answer(
        {
            "period": period_document(period),
            "summary": _summary(now[0], before[0]),
            "charts": {
                "top_pages": _named(pages, "path", ("page_views", "sessions", "visitors")),
                "top_browsers": _named(browsers, "browser", ("sessions", "visitors")),
                "devices": _named(devices, "device_type", ("sessions", "visitors")),
                "countries": _countries(countries),
                "top_referrers": _named(referrers, "source", ("sessions",)),
                "hourly": [
                    {"hour": time_text(row["hour_ms"]), **{name: row[name] for name in _COUNTED}}
                    for row in hours
                ],
            },
            "freshness": _freshness(lag[0], now_ms),
        }
    )


def period_document(period: Period) -> dict[str, str]:
    """A period as answers show it; the end is exclusive."""
    return {
        "start": time_text(period.start_ms),
        "end": time_text(period.end_ms),
        "timezone": period.timezone,
    }


def change_percent(now: int, before: int) -> float | None:
    """Percent against the equally long period before; null if that had none."""
    return None if before == 0 else round((now - before) / before * 100, 1)


def _summary(now: Row, before: Row) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    for name in _COUNTED:
        summary[name] = now[name]
        summary[f"{name}_change"] = change_percent(now[name], before[name])
    return summary


def _named(rows: Sequence[Row], name: str, figures: Sequence[str]) -> list[dict[str, Any]]:
    """Entries of a top list; what could not be told has a name, too."""
    return [
        {name: row[name] or UNKNOWN, **{figure: row[figure] for figure in figures}} for row in rows
    ]


def _countries(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [
        {
            "country": row["country"] or UNKNOWN,
            "country_code": row["country_code"],
            "sessions": row["sessions"],
            "visitors": row["visitors"],
        }
        for row in rows
    ]


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
