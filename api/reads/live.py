"""Who is there now, and what a project uses and keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any

from aiohttp import web

from api.answers import data_answer, time_text
from api.parameters import NoParameters, PeriodParameters
from api.project_queries import bounds
from api.reads.asking import ask, ask_period
from api.reads.overview import period_document
from connectors.errors import RetryableError
from connectors.live_figures import ACTIVE_MINUTES
from schemas.records import RETENTION_DAYS_MAX

MINUTE_MS = 60_000
LISTED_MAX = 100  # Source: api.md, section 7.
# Days that the tables keep when a project says nothing, and at most. Source: ADR on retention.
KEPT_DAYS = {"events": 90, "sessions": 365, "insights": 365, "replay": 30}
REPLAY_DAYS_MAX = 90


async def active_visitors(request: web.Request) -> web.Response:
    """Sessions of the last five minutes; without Redis they are counted from the list."""
    asked = ask(request, NoParameters)
    project_id, now_ms = asked.caller.project_id, asked.services.now_ms()
    rows = await asked.queries.rows(
        "active_visitors",
        {"since_ms": now_ms - ACTIVE_MINUTES * MINUTE_MS, "limit": LISTED_MAX},
    )
    pages = Counter(row["page"] for row in rows)
    figures = asked.stores.live
    views: Mapping[str, int] = {}
    visitors_now = len(rows)
    try:
        visitors_now = await figures.active_sessions(project_id, now_ms)
        views = await figures.page_views(project_id, list(pages), now_ms)
    except RetryableError:
        pass  # Live figures may be lost at any moment; what is stored says nearly the same.
    return data_answer(
        {
            "visitors_now": visitors_now,
            "visitors": [
                {
                    "page": row["page"],
                    "country": row["country"],
                    "device": row["device"],
                    "since": time_text(row["since_ms"]),
                }
                for row in rows
            ],
            "by_page": [
                {"page": page, "visitors": count, "page_views": views.get(page)}
                for page, count in sorted(pages.items(), key=lambda item: (-item[1], item[0]))
            ],
        }
    )


async def usage(request: web.Request) -> web.Response:
    """Events received and stored, by UTC day; rows and days that are kept."""
    asked = ask_period(request, PeriodParameters)
    days, kept = await asked.queries.rows_of_all(
        [("usage_days", bounds(asked.period)), ("kept_rows", {})]
    )
    document = await asked.stores.settings.settings(asked.caller.project_id)
    return data_answer(
        {
            "period": period_document(asked.period),
            "events_used": sum(row["stored"] for row in days),
            "events_received": sum(row["received"] for row in days),
            "by_day": [
                {
                    "date": row["day"].isoformat(),
                    "received": row["received"],
                    "stored": row["stored"],
                }
                for row in days
            ],
            "kept": {
                kind: {
                    "rows": kept[0][f"{kind}_rows"],
                    "first_day": _day(kept[0][f"{kind}_first_day"]),
                    "last_day": _day(kept[0][f"{kind}_last_day"]),
                    "retention_days": retention_days(document or {}, kind),
                }
                for kind in KEPT_DAYS
            },
        }
    )


def retention_days(document: Mapping[str, Any], kind: str) -> int:
    """For how many days a project keeps rows of a kind."""
    section = document.get("retention")
    days = section.get(kind) if isinstance(section, Mapping) else None
    longest = REPLAY_DAYS_MAX if kind == "replay" else RETENTION_DAYS_MAX
    return min(days, longest) if type(days) is int and days > 0 else KEPT_DAYS[kind]


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
