"""Reports of a period: pages, web vitals, requests to servers, journeys, experience."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from typing import Any

from aiohttp import web

from api.parameters import PeriodParameters
from api.project_queries import bounds
from api.reads.asking import AskedPeriod, ask_period, optional
from api.reads.cached import answer_cached
from api.reads.days import days_of_period
from api.reads.overview_models import (
    JourneysParameters,
    LatencyParameters,
    PagesParameters,
    PerformanceParameters,
)
from api.services import Row

WORST_PAGES = 10
VITALS = ("lcp", "inp", "cls", "fcp", "ttfb", "fid", "load_complete")
_REQUESTS = ("requests", "latency_ms_p50", "latency_ms_p95", "errors", "error_share")


async def pages(request: web.Request) -> web.Response:
    """Pages of the period, most viewed first."""
    return await answer_cached(request, ask_period(request, PagesParameters), _pages)


async def _pages(asked: AskedPeriod[PagesParameters]) -> Any:
    rows = await asked.queries.rows(
        "pages_table",
        {
            **bounds(asked.period),
            "path": optional(asked.parameters.path),
            "limit": asked.parameters.top,
        },
    )
    return [
        {
            **{name: row[name] for name in ("path", "views", "sessions", "exits", "entries")},
            "avg_time": _rounded(row["avg_seconds"]),
            "median": _rounded(row["median_seconds"]),
            "p75": _rounded(row["p75_seconds"]),
            "bounce_rate": row["bounce_rate"],
            "scroll_reach": round(row["scroll_reach"], 1),
        }
        for row in rows
    ]


async def performance(request: web.Request) -> web.Response:
    """Load times and web vitals by page, and of all of them by day.

    `samples` are the reports they were made of: events `page_load` and `web_vitals`. Browsers send
    several for a page view, or none: page views are in `pages`. The page with most samples is
    first; `top` pages are told.
    """
    return await answer_cached(request, ask_period(request, PerformanceParameters), _performance)


async def _performance(asked: AskedPeriod[PerformanceParameters]) -> Any:
    chosen = {
        **bounds(asked.period),
        "path": optional(asked.parameters.path),
        "device_type": optional(asked.parameters.device_type),
    }
    by_page, by_day = await asked.queries.rows_of_all(
        [
            ("vitals_by_page", {**chosen, "limit": asked.parameters.top}),
            ("vitals_by_day", {**chosen, "timezone": asked.period.timezone}),
        ]
    )
    return {
        "pages": [{"path": row["path"], **_vitals(row)} for row in by_page],
        "days": [{"date": row["day"].isoformat(), **_vitals(row)} for row in by_day],
    }


async def latency(request: web.Request) -> web.Response:
    """Requests that pages sent, by endpoint and by day."""
    return await answer_cached(request, ask_period(request, LatencyParameters), _latency)


async def _latency(asked: AskedPeriod[LatencyParameters]) -> Any:
    chosen = {
        **bounds(asked.period),
        "path": optional(asked.parameters.api),
        "method": optional(asked.parameters.method),
    }
    endpoints, days = await asked.queries.rows_of_all(
        [
            ("api_latency", {**chosen, "limit": asked.parameters.top}),
            ("api_latency_days", {**chosen, "timezone": asked.period.timezone}),
        ]
    )
    return {
        "endpoints": [dict(row) for row in endpoints],
        "days": [
            {"date": row["day"].isoformat(), **{name: row[name] for name in _REQUESTS}}
            for row in days
        ],
    }


async def journeys(request: web.Request) -> web.Response:
    """The most frequent sequences of pages, with how many left at each."""
    return await answer_cached(request, ask_period(request, JourneysParameters), _journeys)


async def _journeys(asked: AskedPeriod[JourneysParameters]) -> Any:
    given = asked.parameters
    rows = await asked.queries.rows(
        "top_paths",
        {
            **bounds(asked.period),
            "start": optional(given.start),
            "end": optional(given.end),
            "depth": given.depth,
            "limit": given.top,
        },
    )
    return [dict(row) for row in rows]


async def experience(request: web.Request) -> web.Response:
    """How well closed sessions of the period went."""
    return await answer_cached(request, ask_period(request, PeriodParameters), _experience)


async def _experience(asked: AskedPeriod[PeriodParameters]) -> Any:
    span = bounds(asked.period)
    scores, worst, emotions = await asked.queries.rows_of_all(
        [
            ("project_score", span),
            ("worst_pages", {**span, "limit": WORST_PAGES}),
            ("emotion_days", {**span, "timezone": asked.period.timezone}),
        ]
    )
    score = scores[0]
    return {
        "mean": score["score"],
        "sessions": score["closed_sessions"],
        "distribution": {name: score[name] for name in ("good", "fair", "poor")},
        "worst_pages": [dict(row) for row in worst],
        "emotions": [
            {"date": day.isoformat(), "emotions": _emotions(emotions, day)}
            for day in days_of_period(asked.period)
        ],
    }


def _emotions(rows: Sequence[Row], day: date) -> dict[str, int]:
    return {row["emotion"]: row["sessions"] for row in rows if row["day"] == day}


def _vitals(row: Row) -> dict[str, Any]:
    return {"samples": row["samples"], **{name: _vital(row, name) for name in VITALS}}


def _vital(row: Row, name: str) -> dict[str, float | None]:
    """Mean and percentiles; of no samples the database says null or that it is no number."""
    median, p75, p95 = row[f"quantiles_{name}"] or (None, None, None)
    return {
        "avg": _number(row[f"avg_{name}"]),
        "p50": _number(median),
        "p75": _number(p75),
        "p95": _number(p95),
    }


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None or not math.isfinite(seconds) else round(seconds, 1)
