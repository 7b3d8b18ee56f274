"""Parameters of exports: those of the lists, without pages."""

from __future__ import annotations

from typing import Literal

from api.parameters import PeriodParameters
from api.reads.insight_models import InsightType
from api.reads.session_models import SessionFilters, Text

Format = Literal["csv", "ndjson"]


class SessionsExport(SessionFilters):
    """GET export of sessions."""

    format: Format = "csv"


class EventsExport(PeriodParameters):
    """GET export of events."""

    event_type: Text | None = None
    session_id: Text | None = None
    user_id: Text | None = None
    path: Text | None = None
    format: Format = "csv"


class InsightsExport(PeriodParameters):
    """GET export of insights."""

    type: InsightType | None = None
    path: Text | None = None
    format: Format = "csv"
