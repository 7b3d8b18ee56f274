"""GET ledger: what became of every event of a project, by minute of receipt."""

from __future__ import annotations

from aiohttp import web

from api.answers import data_answer
from api.errors import ApiError, ErrorCode
from api.ledger import build_ledger, minute_documents
from api.parameters import PeriodParameters
from api.period import Period
from api.project_queries import bounds
from api.reads.asking import ask_period
from api.reads.overview import period_document
from schemas.topics import DAY_MS

MINUTE_MS = 60_000
LEDGER_DAYS_MAX = 31  # One entry a minute: a month is 44,640 of them.


async def ledger(request: web.Request) -> web.Response:
    """Entries by minute and in total, each compared with a recount of the stored rows."""
    asked = ask_period(request, PeriodParameters)
    period = whole_minutes(asked.period)
    if period.end_ms - period.start_ms > LEDGER_DAYS_MAX * DAY_MS:
        faults = {"start_date": f"the ledger shows at most {LEDGER_DAYS_MAX} days at once"}
        raise ApiError(ErrorCode.VALIDATION_ERROR, "the time range is invalid", faults)
    booked, recounted = await asked.queries.rows_of_all(
        [
            ("ledger_reasons_by_minute", bounds(period)),
            ("stored_rows_by_minute", bounds(period)),
        ]
    )
    minutes, total = build_ledger(booked, recounted)
    return data_answer(
        {
            "period": period_document(period),
            "totals": total.document(),
            "minutes": minute_documents(minutes),
        }
    )


def whole_minutes(period: Period) -> Period:
    """The minutes that the period touches: the ledger knows nothing smaller."""
    start_ms = period.start_ms // MINUTE_MS * MINUTE_MS
    end_ms = -(-period.end_ms // MINUTE_MS) * MINUTE_MS
    return Period(start_ms, end_ms, period.timezone)
