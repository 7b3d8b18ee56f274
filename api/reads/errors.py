"""Errors of a period: grouped by fingerprint, with what people decided about them.

A group that was resolved is open again as soon as it happens after that; one that is ignored stays
so. Nothing is written for it: it is found out when it is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from api.answers import data_answer, time_text
from api.bodies import read_body
from api.cursor import Cursor, decode_cursor
from api.errors import ApiError, ErrorCode
from api.parameters import NoParameters, PeriodParameters
from api.project_queries import ProjectQueries, bounds
from api.reads.asking import AskedPeriod, ask, ask_period, not_found
from api.reads.days import filled
from api.reads.insight_models import ErrorChange, ErrorsParameters
from api.services import Row
from connectors.error_groups import Decision

# Groups of one period; a site with more has one error under many names.
GROUPS_MAX = 10_000
PAGES_MAX = 50
SAMPLES_MAX = 10  # Source: api.md, section 6.
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")
_SORTED_BY = {
    "last_seen": "last_seen_ms",
    "first_seen": "first_seen_ms",
    "count": "count",
    "sessions": "session_count",
}


async def errors(request: web.Request) -> web.Response:
    """One page of groups; occurrences instead if they are not to be grouped."""
    asked = ask_period(request, ErrorsParameters)
    statuses = await _statuses(
        asked.queries, await asked.stores.error_groups.decided(asked.caller.project_id)
    )
    if asked.parameters.grouped:
        return await _groups(asked, statuses)
    return await _occurrences(asked, statuses)


async def error(request: web.Request) -> web.Response:
    """One group with its stack, its days, pages and some sessions."""
    asked = ask_period(request, PeriodParameters)
    error_id = _error_id(request)
    span = {**bounds(asked.period), "error_id": error_id}
    groups, days, pages, samples = await asked.queries.rows_of_all(
        [
            ("error_groups", {**span, "limit": 1}),
            ("error_days", {**span, "timezone": asked.period.timezone}),
            ("error_pages", {**span, "limit": PAGES_MAX}),
            ("error_samples", {**span, "limit": SAMPLES_MAX}),
        ]
    )
    if not groups or not samples:
        raise not_found("error in this period")
    statuses = await _statuses(
        asked.queries, await asked.stores.error_groups.decided(asked.caller.project_id)
    )
    group = _group(groups[0], statuses)
    return data_answer(
        {
            **group,
            "stack": samples[0]["stack"],
            "stats": {
                "occurrences_over_time": filled(
                    asked.period, {row["day"]: row["count"] for row in days}, "count"
                ),
                "browsers": group["browsers"],
                "pages": [dict(row) for row in pages],
            },
            "sample_sessions": [
                {
                    "session_id": row["session_id"],
                    "timestamp": time_text(row["timestamp_ms"]),
                    "url": row["url"],
                }
                for row in samples
            ],
        }
    )


async def decide(request: web.Request) -> web.Response:
    """Set the status of a group that happened at some time."""
    asked = ask(request, NoParameters)
    error_id = _error_id(request)
    change = await read_body(request, ErrorChange)
    known = await asked.queries.rows(
        "errors_after", {"after_ms": 0, "error_id": error_id, "limit": 1}
    )
    if not known:
        raise not_found("error")
    decision = Decision(change.status, asked.services.now_ms())
    caller = asked.caller
    decided_by = caller.account_id or None  # A key is nobody's account.
    await asked.stores.error_groups.decide(caller.project_id, error_id, decision, decided_by)
    return data_answer(
        {
            "id": error_id,
            "status": decision.status,
            "updated_at": time_text(decision.at_ms),
        }
    )


async def _groups(
    asked: AskedPeriod[ErrorsParameters], statuses: Mapping[str, str]
) -> web.Response:
    given = asked.parameters
    if given.page * given.per_page > GROUPS_MAX:
        faults = {"page": f"reaches over {GROUPS_MAX} groups"}
        raise ApiError(ErrorCode.VALIDATION_ERROR, "the query is invalid", faults)
    if given.cursor is not None:
        faults = {"cursor": "is of the list that is not grouped"}
        raise ApiError(ErrorCode.VALIDATION_ERROR, "the query is invalid", faults)
    rows: Sequence[Row] = await asked.queries.rows(
        "error_groups", {**bounds(asked.period), "error_id": "", "limit": GROUPS_MAX}
    )
    if given.status is not None:
        rows = [row for row in rows if statuses.get(row["id"], "open") == given.status]
    column = _SORTED_BY[given.sort]
    # By id first: the second sort keeps that order where values are equal.
    rows = sorted(rows, key=lambda row: str(row["id"]))
    rows = sorted(rows, key=lambda row: int(row[column]), reverse=given.order == "desc")
    first = (given.page - 1) * given.per_page
    return data_answer(
        [_group(row, statuses) for row in rows[first : first + given.per_page]],
        {
            "page": given.page,
            "per_page": given.per_page,
            "total": len(rows),
            "total_pages": -(-len(rows) // given.per_page),
        },
    )


async def _occurrences(
    asked: AskedPeriod[ErrorsParameters], statuses: Mapping[str, str]
) -> web.Response:
    given = asked.parameters
    if given.status is not None or given.page > 1:
        name = "page" if given.page > 1 else "status"
        faults = {name: "is of the grouped list; go on by cursor"}
        raise ApiError(ErrorCode.VALIDATION_ERROR, "the query is invalid", faults)
    cursor = decode_cursor(given.cursor, "errors")
    rows = await asked.queries.rows(
        "errors_list",
        {
            **bounds(asked.period),
            "error_id": "",
            "cursor_ms": cursor.place if cursor else 0,
            "cursor_id": cursor.row_id if cursor else "",
            "limit": given.per_page + 1,
        },
    )
    page = rows[: given.per_page]
    following = None
    if len(rows) > len(page):
        following = Cursor("errors", page[-1]["timestamp_ms"], page[-1]["event_id"]).encode()
    return data_answer(
        [_occurrence(row, statuses) for row in page],
        {"per_page": given.per_page, "next_cursor": following},
    )


async def _statuses(queries: ProjectQueries, decided: Mapping[str, Decision]) -> Mapping[str, str]:
    """The present status of each group that somebody decided about."""
    resolved = [found.at_ms for found in decided.values() if found.status == "resolved"]
    seen: dict[str, int] = {}
    if resolved:
        rows = await queries.rows(
            "errors_after", {"after_ms": min(resolved), "error_id": "", "limit": GROUPS_MAX}
        )
        seen = {row["id"]: row["last_seen_ms"] for row in rows}
    return {
        error_id: status_of(found, seen.get(error_id, 0)) for error_id, found in decided.items()
    }


def status_of(decision: Decision, last_seen_ms: int) -> str:
    """What a decision amounts to, now that the error was last seen then."""
    is_back = decision.status == "resolved" and last_seen_ms > decision.at_ms
    return "open" if is_back else decision.status


def _group(row: Row, statuses: Mapping[str, str]) -> dict[str, Any]:
    plain = ("id", "message", "error_type", "event_type", "count", "session_count")
    return {
        **{name: row[name] for name in plain},
        "filename": row["filename"] or None,
        "lineno": row["lineno"] or None,
        "colno": row["colno"] or None,
        "first_seen": time_text(row["first_seen_ms"]),
        "last_seen": time_text(row["last_seen_ms"]),
        "status": statuses.get(row["id"], "open"),
        "browsers": dict(sorted(row["browsers"].items(), key=lambda item: (-item[1], item[0]))),
    }


def _occurrence(row: Row, statuses: Mapping[str, str]) -> dict[str, Any]:
    plain = ("id", "event_id", "session_id", "event_type", "error_type", "message", "stack")
    return {
        **{name: row[name] for name in (*plain, "url", "path", "browser")},
        "timestamp": time_text(row["timestamp_ms"]),
        "status": statuses.get(row["id"], "open"),
    }


def _error_id(request: web.Request) -> str:
    error_id = request.match_info["error_id"]
    if not _FINGERPRINT.fullmatch(error_id):
        raise not_found("error")
    return error_id
