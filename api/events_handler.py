"""GET events: the stored events of a project, newest first, page by page."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from api.answers import data_answer, time_text
from api.cursor import Cursor, decode_cursor
from api.parameters import EventsParameters
from api.project_queries import bounds
from api.reads.asking import ask_period, session_filter
from api.reads.user_rows import user_filter
from api.services import Row

_EMBEDDED = ("payload", "custom")  # JSON texts that are shown as JSON, not as text.
_TIMES = {"timestamp_ms": "timestamp", "received_at_ms": "received_at"}


async def events(request: web.Request) -> web.Response:
    """One page; `meta.next_cursor` is null on the last one.

    With `user_id` also events that say no user, of visitors who were this user then.
    `session_id` is the stored id of a session, or its id as it was sent.
    """
    asked = ask_period(request, EventsParameters)
    parameters = asked.parameters
    cursor = decode_cursor(parameters.cursor, "events")
    rows = await asked.queries.rows(
        "events_list",
        {
            **bounds(asked.period),
            "event_type": parameters.event_type or "",
            "session_id": session_filter(parameters.session_id, asked.caller.project_id),
            **await user_filter(asked, parameters.user_id),
            "path": parameters.path or "",
            "cursor_ms": cursor.place if cursor else 0,
            "cursor_event_id": cursor.row_id if cursor else "",
            # One more than the page shows whether there is another page.
            "limit": parameters.per_page + 1,
        },
    )
    page = rows[: parameters.per_page]
    has_more = len(rows) > len(page)
    return data_answer(
        [_event(row) for row in page],
        {
            "per_page": parameters.per_page,
            "next_cursor": _cursor_after(page[-1]).encode() if has_more else None,
        },
    )


def _event(row: Row) -> dict[str, Any]:
    event: dict[str, Any] = {}
    for name, value in row.items():
        if name in _EMBEDDED:
            event[name] = msgspec.Raw(value.encode() or b"{}")
        elif name in _TIMES:
            event[_TIMES[name]] = time_text(value)
        else:
            event[name] = value
    return event


def _cursor_after(row: Row) -> Cursor:
    return Cursor("events", row["timestamp_ms"], row["event_id"])
