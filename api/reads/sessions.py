"""Sessions: the list, one of them, its events, its steps, and how well it went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from api.access import Access
from api.answers import data_answer, time_text
from api.cursor import ANY_PLACE, Cursor, decode_cursor
from api.errors import ApiError, ErrorCode
from api.parameters import NoParameters
from api.project_queries import ProjectQueries, bounds
from api.reads.asking import AskedPeriod, ask, ask_period, not_found, optional, session_of_path
from api.reads.session_models import (
    ROWS_BY_PAGE_MAX,
    SECONDS_MAX,
    SessionFilters,
    SessionsParameters,
    TimelineParameters,
)
from api.reads.session_pages import seen_pages
from api.reads.session_rows import AT_FIRST, after_row, session_rows
from api.reads.user_rows import user_filter
from api.services import Row

# Page views, exits and scrolls of one session: more are left out of its pages.
VIEW_ROWS_MAX = 20_000
INSIGHTS_MAX = 500
GOOD_FROM, FAIR_FROM = 80, 50  # Source: sessions.md, section 5.
# Of a session whose events are no longer kept.
_NO_DEVICE: Row = {
    **dict.fromkeys(("browser_version", "os_version", "language", "timezone", "region"), ""),
    **dict.fromkeys(("screen_width", "screen_height", "viewport_width", "viewport_height"), 0),
}
_FLAGS = ("has_error", "has_rage_click", "has_dead_click", "has_replay")
_LISTED = (
    *("id", "user_id", "anonymous_id", "duration_ms", "entry_url", "exit_url", "page_count"),
    *("event_count", *_FLAGS, "converted", "is_closed", "experience_score", "utm_source"),
)
_DETAILED = (
    *("id", "user_id", "anonymous_id", "duration_ms", "entry_url", "exit_url", "referrer"),
    *("referrer_domain", "end_reason", "is_bounce", "is_closed", "converted", "conversion_event"),
    *_FLAGS,
)
_COUNTED = (
    *("event_count", "page_count", "click_count", "error_count", "rage_click_count"),
    *("dead_click_count", "error_click_count", "max_scroll_depth", "engaged_ms"),
)


async def sessions(request: web.Request) -> web.Response:
    """One page; `meta.next_cursor` is null on the last one.

    With `user_id` also sessions that say no user, of visitors who were this user when they ended.
    """
    asked = ask_period(request, SessionsParameters)
    given = asked.parameters
    list_name = f"sessions-{given.sort}-{given.order}"
    cursor = decode_cursor(given.cursor, list_name, ANY_PLACE)
    chosen = {
        **await session_filters(asked),
        "sort": given.sort,
        "direction": 1 if given.order == "asc" else -1,
    }
    after = after_row(cursor.place, cursor.row_id) if cursor else AT_FIRST
    rows = await session_rows(asked.queries, chosen, after, given.per_page + 1)
    page = rows[: given.per_page]
    following = None
    if len(rows) > len(page):
        following = Cursor(list_name, page[-1]["place"], page[-1]["id"]).encode()
    return data_answer(
        [session_in_list(row) for row in page],
        {"per_page": given.per_page, "next_cursor": following},
    )


async def session_filters(asked: AskedPeriod[Any]) -> dict[str, Any]:
    """The filters of `SessionFilters` as `sessions_list` takes them."""
    given: SessionFilters = asked.parameters
    texts = ("country", "device_type", "browser", "path", "utm_source")
    return {
        **bounds(asked.period),
        **{name: optional(getattr(given, name)) for name in (*_FLAGS, "converted", *texts)},
        **await user_filter(asked, given.user_id),
        "min_duration_ms": _milliseconds(given.min_duration, 0),
        # What is longer than any filter can say is let through when none is given.
        "max_duration_ms": _milliseconds(given.max_duration, 2**32 * SECONDS_MAX),
    }


def session_in_list(row: Row) -> dict[str, Any]:
    """See `SessionInList`."""
    return {
        **{name: row[name] for name in _LISTED},
        **_times(row),
        "device": {name: row[name] for name in ("browser", "os", "device_type")},
        "location": {name: row[name] for name in ("country", "country_code", "city")},
    }


async def session(request: web.Request) -> web.Response:
    """One session, by its stored id or as it was sent; its user's traits for admins and owners."""
    asked = ask(request, NoParameters)
    row = await session_row(request, asked.queries)
    span = days_of(row)
    devices, views, insights = await asked.queries.rows_of_all(
        [
            ("session_device", span),
            ("session_views", {**span, "limit": VIEW_ROWS_MAX}),
            ("session_insights", {**span, "limit": INSIGHTS_MAX}),
        ]
    )
    device = devices[0] if devices else _NO_DEVICE
    return data_answer(
        {
            **{name: row[name] for name in _DETAILED},
            **_times(row),
            "device": {
                **{name: row[name] for name in ("browser", "os", "device_type")},
                "browser_version": device["browser_version"],
                "os_version": device["os_version"],
                "screen_resolution": _size(device["screen_width"], device["screen_height"]),
                "viewport": _size(device["viewport_width"], device["viewport_height"]),
                "language": device["language"],
                "timezone": device["timezone"],
            },
            "location": {
                **{name: row[name] for name in ("country", "country_code", "city")},
                "region": device["region"],
            },
            "utm": {
                name: row[f"utm_{name}"]
                for name in ("source", "medium", "campaign", "term", "content")
            },
            "stats": {name: row[name] for name in _COUNTED},
            "pages": seen_pages(views),
            "insights": [
                {
                    "id": found["id"],
                    "type": found["type"],
                    "timestamp": time_text(found["timestamp_ms"]),
                    "url": found["url"],
                    "target": found["target"],
                }
                for found in insights
            ],
            "user": await _user(asked.queries, row["user_id"], asked.caller.role),
        }
    )


async def timeline(request: web.Request) -> web.Response:
    """Events of a session in order of time, by page number or by cursor."""
    asked = ask(request, TimelineParameters)
    given = asked.parameters
    if given.page * given.per_page > ROWS_BY_PAGE_MAX:
        faults = {"page": f"reaches over {ROWS_BY_PAGE_MAX} events; go on by cursor"}
        raise ApiError(ErrorCode.VALIDATION_ERROR, "the query is invalid", faults)
    if given.cursor is not None and given.page > 1:
        faults = {"page": "cannot be given with a cursor"}
        raise ApiError(ErrorCode.VALIDATION_ERROR, "the query is invalid", faults)
    cursor = decode_cursor(given.cursor, "timeline")
    span = days_of(await session_row(request, asked.queries))
    chosen = {**span, "event_types": _words(given.event_types)}
    found, counted = await asked.queries.rows_of_all(
        [
            (
                "session_timeline",
                {
                    **chosen,
                    "cursor_ms": cursor.place if cursor else 0,
                    "cursor_id": cursor.row_id if cursor else "",
                    "offset": (given.page - 1) * given.per_page,
                    "limit": given.per_page + 1,
                },
            ),
            ("session_timeline_count", chosen),
        ]
    )
    page = found[: given.per_page]
    following = None
    if len(found) > len(page):
        following = Cursor("timeline", page[-1]["timestamp_ms"], page[-1]["id"]).encode()
    total = counted[0]["events"]
    meta: dict[str, Any] = {
        "per_page": given.per_page,
        "total": total,
        "total_pages": -(-total // given.per_page),
        "next_cursor": following,
    }
    if cursor is None:
        meta["page"] = given.page
    return data_answer([_event(row) for row in page], meta)


async def journey(request: web.Request) -> web.Response:
    """The pages of a session as steps."""
    asked = ask(request, NoParameters)
    row = await session_row(request, asked.queries)
    steps = await asked.queries.rows("session_journey", {"session_id": row["id"]})
    return data_answer(
        [
            {
                "step_num": step["step_num"],
                "screen": step["screen"],
                "occurred_at": time_text(step["occurred_at_ms"]),
            }
            for step in steps
        ]
    )


async def experience(request: web.Request) -> web.Response:
    """Score and emotion of a session; null until it is closed."""
    asked = ask(request, NoParameters)
    row = await session_row(request, asked.queries)
    score = row["experience_score"]
    is_judged = score is not None
    return data_answer(
        {
            "score": score,
            "band": band_of(score) if is_judged else None,
            "issues": msgspec.json.decode(row["issues"]),
            "emotion": row["emotion"] or None,
            "confidence": row["emotion_confidence"] if row["emotion"] else None,
            "event_id": row["emotion_event_id"],
            "occurred_at": time_text(row["ended_at_ms"]),
        }
    )


def band_of(score: float) -> str:
    """The name of a score's range."""
    if score >= GOOD_FROM:
        return "good"
    return "fair" if score >= FAIR_FROM else "poor"


async def session_row(request: web.Request, queries: ProjectQueries) -> Row:
    """The session of the path.

    Raises:
        ApiError: NOT_FOUND, also for a session of another project.
    """
    _, session_id = session_of_path(request)
    rows = await queries.rows("session_row", {"session_id": session_id})
    if not rows:
        raise not_found("session")
    return rows[0]


def days_of(row: Row) -> dict[str, Any]:
    """The session and the days (UTC) of its events, which keep a query to a few parts."""
    return {
        "session_id": row["id"],
        "first_day": row["first_day"],
        "last_day": row["last_day"],
    }


async def _user(queries: ProjectQueries, user_id: str, role: Access) -> Mapping[str, Any] | None:
    if not user_id:
        return None
    if role < Access.ADMIN:
        return {"id": user_id, "traits": None}
    traits = await queries.rows("user_traits", {"user_id": user_id})
    return {"id": user_id, "traits": {row["name"]: row["value"] for row in traits}}


def _event(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "type": row["type"],
        "timestamp": time_text(row["timestamp_ms"]),
        "url": row["url"],
        "payload": msgspec.Raw(row["payload"].encode() or b"{}"),
    }


def _times(row: Row) -> dict[str, str]:
    return {
        "started_at": time_text(row["started_at_ms"]),
        "ended_at": time_text(row["ended_at_ms"]),
    }


def _milliseconds(seconds: float | None, default: int) -> int:
    return default if seconds is None else round(seconds * 1000)


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def _size(width: int, height: int) -> str | None:
    return f"{width}x{height}" if width else None
