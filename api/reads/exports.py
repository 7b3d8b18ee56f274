"""Whole lists as a stream of CSV or of JSON, one row a line; newest first.

A list is read page by page by its cursor, so that memory holds one page and rows that come in
meanwhile change nothing. What goes wrong before the first row is answered as ever; after it, or if
there are more than ROWS_MAX rows, the connection is broken off, so that half a file is never taken
for a whole one. Cells of CSV that a spreadsheet would take for a formula begin with an apostrophe.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from api.answers import time_text
from api.project_queries import ProjectQueries, bounds
from api.reads.asking import ask_period, optional, session_filter
from api.reads.export_models import EventsExport, InsightsExport, SessionsExport
from api.reads.session_rows import AT_FIRST, after_row, session_rows
from api.reads.sessions import session_filters
from api.reads.user_rows import user_filter
from api.services import Row
from connectors.errors import ConnectorError, FatalError
from connectors.telemetry import get_logger

PAGE_ROWS = 2_000
# For how long a client may leave unread what was sent.
READER_TIMEOUT_S = 30.0
ROWS_MAX = 1_000_000
_FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r")
FILE_TYPES = {"csv": "text/csv", "ndjson": "application/x-ndjson"}
_ENCODER = msgspec.json.Encoder(enc_hook=str)
_HIDDEN = frozenset({"place"})
_EMBEDDED = frozenset({"payload", "custom", "details"})

Pages = AsyncIterator[Sequence[Row]]


async def sessions(request: web.Request) -> web.StreamResponse:
    """Sessions that pass the filters, which are those of the list."""
    asked = ask_period(request, SessionsExport)
    chosen = {**await session_filters(asked), "sort": "started_at", "direction": -1}

    def after(row: Row | None) -> dict[str, Any]:
        return after_row(row["place"], row["id"]) if row else AT_FIRST

    def page(place: Mapping[str, Any]) -> Awaitable[Sequence[Row]]:
        return session_rows(asked.queries, chosen, place, PAGE_ROWS)

    pages = _pages(page, after)
    return await _send(request, pages, "sessions", asked.parameters.format)


async def events(request: web.Request) -> web.StreamResponse:
    """Events that pass the filters, which are those of the list."""
    asked = ask_period(request, EventsExport)
    names = ("event_type", "path")
    chosen = {
        **bounds(asked.period),
        **{name: optional(getattr(asked.parameters, name)) for name in names},
        "session_id": session_filter(asked.parameters.session_id, asked.caller.project_id),
        **await user_filter(asked, asked.parameters.user_id),
    }

    def after(row: Row | None) -> dict[str, Any]:
        return {
            "cursor_ms": row["timestamp_ms"] if row else 0,
            "cursor_event_id": row["event_id"] if row else "",
        }

    pages = _pages(_asks(asked.queries, "events_list", chosen), after)
    return await _send(request, pages, "events", asked.parameters.format)


async def insights(request: web.Request) -> web.StreamResponse:
    """Insights that pass the filters."""
    asked = ask_period(request, InsightsExport)
    chosen = {
        **bounds(asked.period),
        "type": optional(asked.parameters.type),
        "path": optional(asked.parameters.path),
    }

    def after(row: Row | None) -> dict[str, Any]:
        return {
            "cursor_ms": row["timestamp_ms"] if row else 0,
            "cursor_id": row["id"] if row else "",
        }

    pages = _pages(_asks(asked.queries, "insights_list", chosen), after)
    return await _send(request, pages, "insights", asked.parameters.format)


def _asks(
    queries: ProjectQueries, query: str, chosen: Mapping[str, Any]
) -> Callable[[Mapping[str, Any]], Awaitable[Sequence[Row]]]:
    """What asks for the page behind a place."""
    return lambda place: queries.rows(query, {**chosen, **place, "limit": PAGE_ROWS})


async def _pages(
    page: Callable[[Mapping[str, Any]], Awaitable[Sequence[Row]]],
    after: Callable[[Row | None], Mapping[str, Any]],
) -> Pages:
    """At least one page, which may be empty; `after` is where the page behind a row begins.

    Raises:
        FatalError: there are more rows than an export may have.
    """
    last: Row | None = None
    given = 0
    while True:
        rows = await page(after(last))
        given += len(rows)
        if given > ROWS_MAX:
            raise FatalError(f"more than {ROWS_MAX} rows")
        yield rows
        if len(rows) < PAGE_ROWS:
            return
        last = rows[-1]


async def _send(request: web.Request, pages: Pages, name: str, form: str) -> web.StreamResponse:
    first = await anext(pages)
    response = web.StreamResponse(
        headers={
            "Content-Type": f"{FILE_TYPES[form]}; charset=utf-8",
            "Content-Disposition": f'attachment; filename="{name}.{form}"',
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
    )
    write = csv_lines if form == "csv" else json_lines
    await response.prepare(request)
    try:
        await write_in_time(response, write(first, is_first=True))
        async for rows in pages:
            await write_in_time(response, write(rows, is_first=False))
    except (ConnectorError, TimeoutError) as error:
        reason = str(error) or "the client does not read"
        get_logger().warning("export_broken_off", list=name, error=reason)
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


async def write_in_time(response: web.StreamResponse, content: bytes) -> None:
    """Send a part; raises TimeoutError if the client takes none of it for too long."""
    async with asyncio.timeout(READER_TIMEOUT_S):
        await response.write(content)


def json_lines(rows: Sequence[Row], *, is_first: bool) -> bytes:
    """One document a line."""
    del is_first
    return b"".join(_ENCODER.encode(_document(row)) + b"\n" for row in rows)


def csv_lines(rows: Sequence[Row], *, is_first: bool) -> bytes:
    """RFC 4180, with the names of the columns before the first row."""
    text = io.StringIO()
    writer = csv.writer(text)
    if is_first and rows:
        writer.writerow(_document(rows[0]))
    writer.writerows([_cell(value) for value in _document(row).values()] for row in rows)
    return text.getvalue().encode()


def _document(row: Row) -> dict[str, Any]:
    """A row under the names of the API: times as texts, JSON as JSON."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if name in _HIDDEN:
            continue
        if name.endswith("_at_ms") or name == "timestamp_ms":
            found[name.removesuffix("_ms")] = time_text(value)
        elif name in _EMBEDDED:
            found[name] = msgspec.Raw(value.encode() or b"{}")
        else:
            found[name] = value
    return found


def _cell(value: Any) -> Any:
    if isinstance(value, msgspec.Raw):
        return bytes(value).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_FORMULA_BEGINS):
        return f"'{value}"
    return value
